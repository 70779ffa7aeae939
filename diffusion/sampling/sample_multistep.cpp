// Samplers that remember estimates of x_0 from the steps before. With lambda = log(alpha / sigma)
// for time, the ODE is solved exactly but for an integral of x_0 (Lu et al. 2022, arXiv 2211.01095,
// eq. 8; h = lambda_s - lambda_t, sigma = sqrt(1 - alpha_bar)):
//
//   x_s = sigma_s / sigma_t x_t + alpha_s h int_0^1 e^(-h (1 - u)) x_0(lambda_t + u h) du
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"

namespace ito {
namespace {

// The weights of a step of DPM-Solver++(2M), in which x_0 is a line through the last two estimates:
//   x_s = keep x_t + weight (x_0 + slope (x_0 - x_0 of the step before))       (Algorithm 2)
struct TwoStep {
  TwoStep(SamplingLoop& loop, const NoiseSchedule& schedule)
      : keep(loop.number([&](const StepTimes& at) {
          return schedule.sqrt_one_minus_alpha_bar(at.s) / schedule.sqrt_one_minus_alpha_bar(at.t);
        })),
        weight(loop.number([&](const StepTimes& at) {
          const double h = schedule.lambda(at.s) - schedule.lambda(at.t);
          return -schedule.sqrt_alpha_bar(at.s) * std::expm1(-h);
        })),
        slope(loop.number([&](const StepTimes& at) {        // 1 / (2 r)
          if (at.before.empty() || at.s == -1) return 0.0;  // of first order, and to the estimate
          const double h = schedule.lambda(at.s) - schedule.lambda(at.t);
          return 0.5 * h / (schedule.lambda(at.t) - schedule.lambda(at.before.back()));
        })) {}

  Tensor operator()(const Tensor& x_t, const Tensor& x0, const Tensor& before) const {
    return keep * x_t + weight * (x0 + slope * (x0 - before));
  }

  Tensor keep, weight, slope;
};

// What is added to the end x_t of such a step once x_0 at t is known, which the step foresaw as on a
// line: UniC-2, in which x_0 is the parabola through the ends of the step and the one before.
//   x_t + newest (x_0 - x_0 of the step before) + oldest (x_0 of two before - of the step before)
struct Correction {
  double newest = 0.0, oldest = 0.0;
};

Correction correction(const NoiseSchedule& schedule, const StepTimes& at) {
  const std::size_t n = at.before.size();
  if (n == 0) return {};
  const double alpha = schedule.sqrt_alpha_bar(at.t), lambda = schedule.lambda(at.before[n - 1]);
  const double h = schedule.lambda(at.t) - lambda;
  const double i0 = -std::expm1(-h);  // i_k = h int_0^1 e^(-h (1 - u)) u^k du
  const double r = n == 1 ? -INFINITY : (schedule.lambda(at.before[n - 2]) - lambda) / h;
  if (std::isinf(r)) return {alpha * 0.5 * i0, 0.0};  // UniC-1
  const double i1 = 1.0 - i0 / h, i2 = 1.0 - 2.0 * i1 / h;
  const double line = i0 / (2.0 * r);  // what the step itself made of x_0 of two before
  return {alpha * (i2 - r * i1) / (1.0 - r), alpha * ((i2 - i1) / (r * (r - 1.0)) - line)};
}

}  // namespace

Tensor sample_dpmpp_2m(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                       Rng rng, const OdeOptions& options) {
  SamplingLoop loop(
      "sample_dpmpp_2m", process, model, x_T,
      falling_to_x0(visited_timesteps(process.schedule, options.steps, options.spacing)), rng,
      {options.limit_x0, options.observer, options.graph});
  const TwoStep two_step(loop, process.schedule);
  Tensor before = Tensor::zeros(x_T.shape(), x_T.dtype(), x_T.device());
  return loop.run([&](const Tensor& x_t) {
    const Tensor x0 = loop.denoise(x_t).x0;
    const Tensor next = two_step(x_t, x0, before);
    before.assign(x0);
    return next;
  });
}

Tensor sample_unipc(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                    Rng rng, const OdeOptions& options) {
  const NoiseSchedule& schedule = process.schedule;
  SamplingLoop loop("sample_unipc", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, options.steps, options.spacing)), rng,
                    {options.limit_x0, options.observer, options.graph});
  const TwoStep two_step(loop, schedule);
  const Tensor newest =
      loop.number([&](const StepTimes& at) { return correction(schedule, at).newest; });
  const Tensor oldest =
      loop.number([&](const StepTimes& at) { return correction(schedule, at).oldest; });
  Tensor before = Tensor::zeros(x_T.shape(), x_T.dtype(), x_T.device());
  Tensor two_before = before.clone();
  return loop.run([&](const Tensor& x_t) {
    const Tensor x0 = loop.denoise(x_t).x0;
    const Tensor corrected = x_t + newest * (x0 - before) + oldest * (two_before - before);
    const Tensor next = two_step(corrected, x0, before);
    two_before.assign(before);
    before.assign(x0);
    return next;
  });
}

}  // namespace ito
