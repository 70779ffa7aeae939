#include "diffusion/denoiser/guidance.h"

#include <utility>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/loss.h"
#include "tensor/check.h"

namespace ito {
namespace {

void expect_labels(const char* op, const Tensor& labels, const Tensor& x_t) {
  expect_defined(op, "labels", labels);
  expect_dtype(op, "labels", labels, DType::i64);
  expect_shape(op, "labels", labels, {x_t.size(0)});
}

}  // namespace

Denoiser conditional(LabelledDenoiser model, Tensor labels) {
  return [=](const Tensor& x_t, const Tensor& t) {
    expect_labels("conditional", labels, x_t);
    return model(x_t, t, labels);
  };
}

// Exact at gamma 0 and 1, which unconditional + gamma (conditional - unconditional) is not.
Tensor guide(const Tensor& unconditional, const Tensor& conditional, double gamma) {
  return (1.0 - gamma) * unconditional + gamma * conditional;
}

Denoiser guided(LabelledDenoiser model, Tensor labels, std::int64_t null_label, double gamma,
                GuidancePasses passes) {
  expect_dtype("guided", "labels", labels, DType::i64);
  const Tensor null =
      Tensor::full(labels.shape(), static_cast<double>(null_label), DType::i64, labels.device());
  if (gamma == 1.0) return conditional(std::move(model), std::move(labels));
  if (gamma == 0.0) return conditional(std::move(model), null);
  return [=](const Tensor& x_t, const Tensor& t) {
    expect_labels("guided", labels, x_t);
    Tensor u, c;
    if (passes == GuidancePasses::one) {
      const std::int64_t n = x_t.size(0);
      const Tensor both =
          model(concat({x_t, x_t}, 0), concat({t, t}, 0), concat({null, labels}, 0));
      u = slice(both, 0, 0, n);
      c = slice(both, 0, n, 2 * n);
    } else {
      u = model(x_t, t, null);
      c = model(x_t, t, labels);
    }
    const NetworkOutput asked = split_output(c, x_t);
    const Tensor output = guide(split_output(u, x_t).prediction, asked.prediction, gamma);
    return asked.variance.defined() ? concat({output, asked.variance}) : output;
  };
}

ScoreShift classifier_shift(NoisyClassifier classifier, Tensor labels, double scale) {
  return [=](const Tensor& x_t, const Tensor& t) {
    expect_labels("classifier_shift", labels, x_t);
    const EnableGrad on;  // samplers switch it off
    const Tensor x = parameter(detach(x_t));
    const auto n = static_cast<double>(x_t.size(0));
    const Tensor log_p = -n * cross_entropy(classifier(x, t), labels);  // summed over the samples
    return scale * grad(log_p, {x})[0];
  };
}

// With d the shift of the score, that of eps is -sigma d, and x0 = (x_t - sigma eps) / alpha
// follows it.
Denoiser shifted(GaussianDiffusion process, Denoiser model, ScoreShift shift) {
  return [=](const Tensor& x_t, const Tensor& t) {
    const NoiseLevel level = process.noise_level(t, x_t);
    const auto [output, variance] = split_output(model(x_t, t), x_t);
    SignalAndNoise x = explain(process.prediction, output, x_t, level, process.sigma_data);
    const Tensor d = shift(x_t, t);
    x.eps = x.eps - level.sigma * d;
    x.x0 = x.x0 + square(level.sigma) / level.alpha * d;
    const Tensor moved = output_for(process.prediction, x, level, process.sigma_data);
    return variance.defined() ? concat({moved, variance}) : moved;
  };
}

}  // namespace ito
