#include "nn/adam.h"

#include <cmath>

#include "tensor/check.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/launch.h"

namespace ito::nn {
namespace {

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
    : m(Tensor::zeros(flat.values.shape(), flat.values.dtype(), flat.values.device())),
      v(Tensor::zeros(flat.values.shape(), flat.values.dtype(), flat.values.device())),
      values_(flat.values),
      grads_(flat.grads),
      options_(options) {
  expect_not_negative("lr", options.lr);
  expect_beta("beta1", options.beta1);
  expect_beta("beta2", options.beta2);
  expect_not_negative("eps", options.eps);
  expect_not_negative("weight_decay", options.weight_decay);
}

void Adam::step(double lr, double grad_scale) {
  expect_not_negative("lr", lr);
  expect_not_negative("grad_scale", grad_scale);
  ++steps_;
  const double t = static_cast<double>(steps_);
  const double bias1 = 1.0 - std::pow(options_.beta1, t);
  const double bias2 = 1.0 - std::pow(options_.beta2, t);
  launch<kernel::AdamStep>(values_.device(), {values_.mutable_raw(),
                                              grads_.raw(),
                                              m.mutable_raw(),
                                              v.mutable_raw(),
                                              values_.numel(),
                                              options_.beta1,
                                              options_.beta2,
                                              options_.eps,
                                              {lr / bias1, 1.0 - lr * options_.weight_decay,
                                               1.0 / std::sqrt(bias2), grad_scale},
                                              values_.dtype()});
}

void Adam::set_steps(std::int64_t steps) {
  if (steps < 0) fail<ValueError>("Adam: steps must be >= 0; got {}", steps);
  steps_ = steps;
}

std::vector<NamedTensor> Adam::state(const FlatParameters& flat) const {
  std::vector<NamedTensor> list;
  for (auto& [name, t] : flat.views(m)) list.emplace_back("m." + name, std::move(t));
  for (auto& [name, t] : flat.views(v)) list.emplace_back("v." + name, std::move(t));
  list.emplace_back("steps", Tensor::from<std::int64_t>({steps_}, {}));
  return list;
}

void Adam::load_state(const FlatParameters& flat, const SafeTensors& file) {
  const std::int64_t steps = file.contains("steps") && file.at("steps").dtype() == DType::i64 &&
                                     file.at("steps").numel() == 1
                                 ? file.at("steps").data<std::int64_t>()[0]
                                 : 0;  // assign_parameters reports what is missing or misshapen
  if (steps < 0) fail<FormatError>("{}: steps must be >= 0; got {}", file.file, steps);
  assign_parameters(state(flat), file);
  steps_ = steps;
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
