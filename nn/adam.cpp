#include "nn/adam.h"

#include <cmath>

#include "tensor/check.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/launch.h"
#include "tensor/profile.h"

namespace ito::nn {
namespace {

constexpr std::int64_t counters = sizeof(kernel::AdamCounters) / sizeof(std::int64_t);
constexpr std::int64_t scalar_count = sizeof(kernel::AdamScalars) / sizeof(double);

void expect_not_negative(const char* name, double value) {
  if (!std::isfinite(value) || value < 0.0) {
    fail<ValueError>("Adam: {} must be finite and >= 0; got {}", name, value);
  }
}

void expect_beta(const char* name, double value) {
  if (!(value >= 0.0 && value < 1.0)) {
    fail<ValueError>("Adam: {} must be in [0, 1); got {}", name, value);
  }
}

}  // namespace

Adam::Adam(const FlatParameters& flat, const AdamOptions& options)
    : m(Tensor::zeros(flat.master.shape(), flat.master.dtype(), flat.master.device())),
      v(Tensor::zeros(flat.master.shape(), flat.master.dtype(), flat.master.device())),
      flat_(flat),
      options_(options),
      lr_(Tensor::full({1}, options.lr, DType::f64, flat.master.device())),
      squared_norm_(Tensor::zeros({1}, DType::f64, flat.master.device())),
      counters_(Tensor::zeros({counters}, DType::i64, flat.master.device())),
      scalars_(Tensor::zeros({scalar_count}, DType::f64, flat.master.device())) {
  expect_not_negative("lr", options.lr);
  expect_beta("beta1", options.beta1);
  expect_beta("beta2", options.beta2);
  expect_not_negative("eps", options.eps);
  expect_not_negative("weight_decay", options.weight_decay);
}

void Adam::set_lr(double lr) {
  expect_not_negative("lr", lr);
  lr_.fill(lr);
}

void Adam::step(double lr, double grad_scale) {
  expect_not_negative("grad_scale", grad_scale);
  set_lr(lr);
  update({}, nullptr, grad_scale);
}

void Adam::step_if_finite(const GuardedStep& guard) {
  if (!(guard.max_norm > 0.0)) {
    fail<ValueError>("Adam: max_norm must be > 0; got {}", guard.max_norm);
  }
  const profile::Scope scope("adam");
  double* norm = squared_norm_.mutable_data<double>();
  launch<kernel::SquaredNorm>(flat_.grads.device(),
                              {flat_.grads.raw(), norm, flat_.grads.numel(), flat_.grads.dtype()});
  update(guard, norm, 1.0);
}

void Adam::update(const GuardedStep& guard, const double* squared_norm, double grad_scale) {
  const Device device = flat_.master.device();
  Ema* average = guard.average;
  const Tensor& losses = guard.losses;
  auto* scalars = static_cast<kernel::AdamScalars*>(scalars_.mutable_raw());
  launch<kernel::AdamBegin>(
      device, {lr_.data<double>(), squared_norm, guard.max_norm, grad_scale,
               losses.defined() ? losses.raw() : nullptr, losses.defined() ? losses.numel() : 0,
               losses.defined() ? losses.dtype() : DType::f32, options_.beta1, options_.beta2,
               options_.weight_decay,
               average == nullptr ? nullptr : average->updates_.mutable_data<std::int64_t>(),
               average == nullptr ? EmaDecay{} : average->decay_, guard.max_consecutive_skips,
               static_cast<kernel::AdamCounters*>(counters_.mutable_raw()), scalars});
  launch<kernel::AdamStep>(
      device, {flat_.master.mutable_raw(), flat_.grads.raw(), m.mutable_raw(), v.mutable_raw(),
               average == nullptr ? nullptr : average->values.mutable_raw(),
               flat_.mixed() ? flat_.model.mutable_data<bf16>() : nullptr, flat_.master.numel(),
               options_.beta1, options_.beta2, options_.eps, scalars, flat_.master.dtype(),
               flat_.grads.dtype()});
}

std::int64_t Adam::steps() const { return static_cast<std::int64_t>(counters_.view({}, 0).item()); }

void Adam::set_steps(std::int64_t steps) {
  if (steps < 0) fail<ValueError>("Adam: steps must be >= 0; got {}", steps);
  counters_.view({}, 0).fill(static_cast<double>(steps));
}

std::int64_t Adam::skipped_in_a_row() const {
  return static_cast<std::int64_t>(counters_.view({}, 1).item());
}

void Adam::set_skipped_in_a_row(std::int64_t steps) {
  counters_.view({}, 1).fill(static_cast<double>(steps));
}

double Adam::grad_norm() const { return std::sqrt(squared_norm_.item()); }

std::vector<NamedTensor> Adam::state(const FlatParameters& flat) const {
  std::vector<NamedTensor> list;
  for (auto& [name, t] : flat.views(m)) list.emplace_back("m." + name, std::move(t));
  for (auto& [name, t] : flat.views(v)) list.emplace_back("v." + name, std::move(t));
  list.emplace_back("steps", Tensor::from<std::int64_t>({steps()}, {}));
  return list;
}

void Adam::load_state(const FlatParameters& flat, const SafeTensors& file) {
  const std::int64_t steps = file.contains("steps") && file.at("steps").dtype() == DType::i64 &&
                                     file.at("steps").numel() == 1
                                 ? file.at("steps").data<std::int64_t>()[0]
                                 : 0;  // assign_parameters reports what is missing or misshapen
  if (steps < 0) fail<FormatError>("{}: steps must be >= 0; got {}", file.file, steps);
  assign_parameters(state(flat), file);
  set_steps(steps);
}

double grad_norm(const FlatParameters& flat) {
  Tensor y = Tensor::empty({}, DType::f64, flat.grads.device());
  launch<kernel::SquaredNorm>(flat.grads.device(), {flat.grads.raw(), y.mutable_data<double>(),
                                                    flat.grads.numel(), flat.grads.dtype()});
  return std::sqrt(y.item());
}

double clip_factor(double norm, double max_norm) {
  if (!std::isfinite(norm) || norm < 0.0) {
    fail<ValueError>("clip_factor: norm must be finite and >= 0; got {}", norm);
  }
  if (!(max_norm > 0.0)) fail<ValueError>("clip_factor: max_norm must be > 0; got {}", max_norm);
  return norm > max_norm ? max_norm / norm : 1.0;
}

double clip_grad_norm(FlatParameters& flat, double max_norm) {
  const double norm = grad_norm(flat);
  if (!std::isfinite(norm)) return norm;
  const double factor = clip_factor(norm, max_norm);
  if (factor != 1.0) {
    launch<kernel::Scale>(flat.grads.device(), {flat.grads.mutable_raw(), flat.grads.numel(),
                                                factor, flat.grads.dtype()});
  }
  return norm;
}

}  // namespace ito::nn
