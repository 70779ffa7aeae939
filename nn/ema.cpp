#include "nn/ema.h"

#include <algorithm>

#include "tensor/check.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/launch.h"

namespace ito::nn {

Ema::Ema(const FlatParameters& flat, double decay, bool warmup)
    : values(flat.values.clone()), parameters_(flat.values), decay_(decay), warmup_(warmup) {
  if (!(decay >= 0.0 && decay < 1.0)) {
    fail<ValueError>("Ema: decay must be in [0, 1); got {}", decay);
  }
}

double Ema::decay_at(std::int64_t n) const {
  if (!warmup_) return decay_;
  return std::min(decay_, static_cast<double>(1 + n) / static_cast<double>(10 + n));
}

void Ema::update() {
  launch<kernel::EmaStep>(values.device(), {values.mutable_raw(), parameters_.raw(), values.numel(),
                                            decay_at(updates_), values.dtype()});
  ++updates_;
}

void Ema::set_updates(std::int64_t updates) {
  if (updates < 0) fail<ValueError>("Ema: updates must be >= 0; got {}", updates);
  updates_ = updates;
}

EmaScope::EmaScope(const Ema& ema) : parameters_(ema.parameters_), saved_(parameters_.clone()) {
  parameters_.assign(ema.values);
}

EmaScope::~EmaScope() { parameters_.assign(saved_); }

}  // namespace ito::nn
