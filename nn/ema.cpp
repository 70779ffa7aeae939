#include "nn/ema.h"

#include "tensor/check.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/launch.h"

namespace ito::nn {

Ema::Ema(const FlatParameters& flat, double decay) : Ema(flat, EmaDecay{.decay = decay}) {}

Ema::Ema(const FlatParameters& flat, const EmaDecay& decay)
    : values(flat.master.clone()),
      flat_(flat),
      decay_(decay),
      updates_(Tensor::zeros({1}, DType::i64, flat.master.device())) {
  if (!(decay.decay >= 0.0 && decay.decay < 1.0)) {
    fail<ValueError>("Ema: decay must be in [0, 1); got {}", decay.decay);
  }
  if (!(decay.gamma > 0.0 && decay.power > 0.0 && decay.ramp > 0.0 && decay.every >= 1)) {
    fail<ValueError>(
        "Ema: gamma, power and ramp must be > 0 and every at least 1; got {}, {}, {} and {}",
        decay.gamma, decay.power, decay.ramp, decay.every);
  }
}

double Ema::decay_at(std::int64_t n) const { return decay_.at(n); }

void Ema::update() {
  const std::int64_t n = updates();
  launch<kernel::EmaStep>(values.device(), {values.mutable_raw(), flat_.master.raw(),
                                            values.numel(), decay_at(n), values.dtype()});
  set_updates(n + 1);
}

std::int64_t Ema::updates() const { return static_cast<std::int64_t>(updates_.item()); }

void Ema::set_updates(std::int64_t updates) {
  if (updates < 0) fail<ValueError>("Ema: updates must be >= 0; got {}", updates);
  updates_.fill(static_cast<double>(updates));
}

// In mixed precision flat.master stay as they are: the model's own weights are rounded from them
// again.
EmaScope::EmaScope(const Ema& ema)
    : flat_(ema.flat_), own_(flat_.mixed() ? flat_.master : flat_.master.clone()) {
  flat_.load_model(ema.values);
}

EmaScope::~EmaScope() { flat_.load_model(own_); }

}  // namespace ito::nn
