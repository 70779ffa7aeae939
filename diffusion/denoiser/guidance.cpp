#include "diffusion/denoiser/guidance.h"

#include <utility>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/loss.h"
#include "tensor/check.h"

namespace ito {

// Exact at scale 0 and 1, which unconditional + scale (conditional - unconditional) is not.
Tensor classifier_free_guidance(const Tensor& unconditional, const Tensor& conditional,
                                double scale) {
  return (1.0 - scale) * unconditional + scale * conditional;
}

Network classifier_free_guidance(ConditionalNetwork network, Condition condition, Condition null,
                                 double scale, GuidancePasses passes) {
  if (scale == 1.0) return conditional(std::move(network), std::move(condition));
  if (scale == 0.0) return conditional(std::move(network), std::move(null));
  const Condition both_conditions = concat(null, condition);
  return [=](const Tensor& x, const Tensor& time) {
    expect_condition("guided", condition, x);
    Tensor unconditional, conditional;
    if (passes == GuidancePasses::one) {
      const std::int64_t n = x.size(0);
      const Tensor both = network(concat({x, x}, 0), concat({time, time}, 0), both_conditions);
      unconditional = slice(both, 0, 0, n);
      conditional = slice(both, 0, n, 2 * n);
    } else {
      unconditional = network(x, time, null);
      conditional = network(x, time, condition);
    }
    const NetworkOutput asked = split_output(conditional, x);
    const Tensor output = classifier_free_guidance(split_output(unconditional, x).prediction,
                                                   asked.prediction, scale);
    return asked.variance.defined() ? concat({output, asked.variance}) : output;
  };
}

Condition same_label(std::int64_t label, std::int64_t n, Device device) {
  return {Tensor::full({n}, static_cast<double>(label), DType::i64, device)};
}

ScoreShift classifier_guidance(NoisyClassifier classifier, Tensor labels, double scale) {
  return [=](const Tensor& x_t, const Levels& levels) {
    expect_condition("classifier_guidance", {labels}, x_t);
    const EnableGrad on;  // samplers switch it off
    const Tensor x = parameter(detach(x_t));
    const auto n = static_cast<double>(x_t.size(0));
    // Summed over the samples.
    const Tensor log_p = -n * cross_entropy(classifier(x, levels.time), labels);
    return scale * grad(log_p, {x})[0];
  };
}

// With d the shift of the score, that of eps is -sigma d, and x0 = (x - sigma eps) / alpha follows.
Denoiser shifted(Denoiser model, ScoreShift shift) {
  return [=](const Tensor& x, const Levels& levels) {
    Denoised denoised = model(x, levels);
    const Tensor d = shift(x, levels);
    denoised.eps = denoised.eps - levels.sigma * d;
    denoised.x0 = denoised.x0 + square(levels.sigma) / levels.alpha * d;
    return denoised;
  };
}

}  // namespace ito
