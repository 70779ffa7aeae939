#include "diffusion/objective/loss_weight.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/layout.h"
#include "diffusion/process/reverse_variance.h"
#include "tensor/error.h"

namespace ito {
namespace {

// The weight of the squared error of x0 at t.
double weight_of_x0(const NoiseSchedule& schedule, LossWeight weight, std::int64_t t) {
  const double snr = schedule.snr(t);
  const double to_x0 =
      posterior_step(schedule.level(t), t == 0 ? Level::clean() : schedule.level(t - 1)).weight_x0;
  switch (weight) {
    case LossWeight::vlb_beta:
      return to_x0 * to_x0 / (2.0 * schedule.beta(t));
    case LossWeight::vlb_beta_tilde:
      return to_x0 * to_x0 / (2.0 * std::exp(schedule.log_beta_tilde_clipped(t)));
    case LossWeight::min_snr:
      return std::min(snr, 5.0);
    case LossWeight::likelihood:
      return snr * schedule.beta(t) / (2.0 * schedule.one_minus_alpha_bar(t));
    case LossWeight::snr:
    case LossWeight::simple:
      break;
  }
  return snr;
}

// How far x0 moves at each t when the network's output moves by 1: the estimate of x0 is linear in
// the output, whatever is predicted.
std::vector<double> x0_per_output(const NoiseSchedule& schedule,
                                  const Parametrization& parametrization) {
  const std::int64_t T = schedule.timesteps();
  std::vector<std::int64_t> t(static_cast<std::size_t>(T));
  std::iota(t.begin(), t.end(), 0);
  const Tensor zero = Tensor::zeros({T, 1}, DType::f64);
  const Tensor one = Tensor::full({T, 1}, 1.0, DType::f64);
  const Levels levels = schedule.levels(Tensor::from(t, {T}), zero);
  return parametrization.denoised(one, zero, levels).x0.to_vector<double>();
}

}  // namespace

std::vector<double> loss_weights(const NoiseSchedule& schedule,
                                 const Parametrization& parametrization, LossWeight weight) {
  const auto T = static_cast<std::size_t>(schedule.timesteps());
  std::vector<double> weights(T, 1.0);
  if (weight == LossWeight::simple) return weights;
  const std::vector<double> to_x0 = x0_per_output(schedule, parametrization);
  for (std::size_t t = 0; t < T; ++t) {
    const double of_x0 = weight_of_x0(schedule, weight, static_cast<std::int64_t>(t));
    weights[t] = of_x0 * to_x0[t] * to_x0[t];
    if (!std::isfinite(weights[t])) {
      fail<ValueError>(
          "loss_weights: {} is not finite for predictions of {} at timestep {}, where SNR is {}; "
          "predict v or x0",
          name_of(weight), name_of(parametrization.prediction), t,
          schedule.snr(static_cast<std::int64_t>(t)));
    }
  }
  return weights;
}

Tensor loss_weights(const NoiseSchedule& schedule, const Parametrization& parametrization,
                    LossWeight weight, DType dtype, Device device) {
  const Tensor weights =
      Tensor::from(loss_weights(schedule, parametrization, weight), {schedule.timesteps()});
  return convert(weights, dtype).to(device);
}

}  // namespace ito
