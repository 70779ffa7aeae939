#include "diffusion/denoiser/parametrization.h"

#include <utility>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/profile.h"

namespace ito {

NetworkOutput split_output(const Tensor& output, const Tensor& x) {
  const std::int64_t channels = x.rank() < 2 ? 0 : x.size(-1);
  if (channels == 0 || output.shape() != x.shape().with(-1, 2 * channels)) {
    expect_shape("denoiser", "the network's output", output, x.shape());
    return {output, {}};
  }
  return {slice(output, -1, 0, channels), slice(output, -1, channels, 2 * channels)};
}

Parametrization Parametrization::edm(double sigma_data) {
  return {Prediction::edm, TimeInput::log_sigma, /*scale_input=*/true, sigma_data};
}

Tensor Parametrization::call(const Network& network, const Tensor& x, const Levels& levels) const {
  const Tensor input = scale_input ? x / standard_deviation(levels, sigma_data) : x;
  if (time_input == TimeInput::time) return network(input, levels.time);
  const Tensor log_sigma = log(levels.sigma / levels.alpha) / 4.0;
  const Shape of_each{x.size(0)};
  return network(input, log_sigma.numel() == x.size(0)
                            ? reshape(log_sigma, of_each)
                            : expand(reshape(log_sigma, Shape{1}), of_each));
}

Denoised Parametrization::denoised(const Tensor& output, const Tensor& x,
                                   const Levels& levels) const {
  const auto [predicted, variance] = split_output(output, x);
  const SignalAndNoise parts = to_x0_eps(prediction, predicted, x, levels, sigma_data);
  return {parts.x0, parts.eps, variance};
}

Denoiser Parametrization::denoiser(Network network) const {
  return [self = *this, net = std::move(network)](const Tensor& x, const Levels& levels) {
    return self.denoised(self.call(net, x, levels), x, levels);
  };
}

Denoiser Parametrization::denoiser(ConditionalNetwork network, Condition condition) const {
  return denoiser(conditional(std::move(network), std::move(condition)));
}

Tensor Parametrization::target(const Tensor& x0, const Tensor& eps, const Levels& levels) const {
  return ito::target(prediction, x0, eps, levels, sigma_data);
}

Tensor Parametrization::losses(const Tensor& output, const Tensor& x0, const Tensor& eps,
                               const Levels& levels) const {
  const profile::Scope scope("loss");
  const Tensor predicted = cast(split_output(output, x0).prediction, x0.dtype());
  return mean_flat(square(predicted - target(x0, eps, levels)));
}

void Parametrization::expect_usable(const NoiseSchedule& schedule) const {
  if (!schedule.has_zero_terminal_snr() || !needs_signal(prediction)) return;
  fail<ValueError>(
      "parametrization: where alpha_bar is 0, {} says nothing about x_0; predict v or x0",
      name_of(prediction));
}

}  // namespace ito
