// Samplers that remember estimates of x_0 from the steps before. With lambda = log(alpha / sigma)
// for time, the ODE is solved exactly but for an integral of x_0 (Lu et al. 2022, arXiv 2211.01095,
// eq. 8; h = lambda_s - lambda_t):
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
  explicit TwoStep(SamplingLoop& loop)
      : keep(loop.number([](const SamplingStep& s) { return s.to.sigma / s.from.sigma; })),
        weight(loop.number([](const SamplingStep& s) {
          const double h = s.to.lambda() - s.from.lambda();
          return -s.to.alpha * std::expm1(-h);
        })),
        slope(loop.number([](const SamplingStep& s) {  // 1 / (2 r)
          if (s.before.empty() || s.to.is_clean())
            return 0.0;  // of first order, and to the estimate
          const double h = s.to.lambda() - s.from.lambda();
          return 0.5 * h / (s.from.lambda() - s.before.back().lambda());
        })) {}

  Tensor operator()(const Tensor& x_t, const Tensor& x0, const Tensor& before) const {
    return keep * x_t + weight * (x0 + slope * (x0 - before));
  }

  Tensor keep, weight, slope;
};

// What is added to the end x_t of such a step once x_0 at t is known, which the step foresaw as on
// a line: UniC-2, in which x_0 is the parabola through the ends of the step and the one before.
//   x_t + newest (x_0 - x_0 of the step before) + oldest (x_0 of two before - of the step before)
struct Correction {
  double newest = 0.0, oldest = 0.0;
};

Correction correction(const SamplingStep& s) {
  const std::size_t n = s.before.size();
  if (n == 0) return {};
  const double alpha = s.from.alpha, lambda = s.before[n - 1].lambda();
  const double h = s.from.lambda() - lambda;
  const double i0 = -std::expm1(-h);  // i_k = h int_0^1 e^(-h (1 - u)) u^k du
  const double r = n == 1 ? -INFINITY : (s.before[n - 2].lambda() - lambda) / h;
  if (std::isinf(r)) return {alpha * 0.5 * i0, 0.0};  // UniC-1
  const double i1 = 1.0 - i0 / h, i2 = 1.0 - 2.0 * i1 / h;
  const double line = i0 / (2.0 * r);  // what the step itself made of x_0 of two before
  return {alpha * (i2 - r * i1) / (1.0 - r), alpha * ((i2 - i1) / (r * (r - 1.0)) - line)};
}

}  // namespace

Tensor sample_dpmpp_2m(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
                       const SamplingOptions& options) {
  SamplingLoop loop("sample_dpmpp_2m", model, x_T, levels, Rng(0), options);
  const TwoStep two_step(loop);
  Tensor before = zeros_like(x_T);
  return loop.run([&](const Tensor& x) {
    const Tensor x0 = loop.denoise(x).x0;
    const Tensor next = two_step(x, x0, before);
    before.assign(x0);
    return next;
  });
}

Tensor sample_unipc(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
                    const SamplingOptions& options) {
  SamplingLoop loop("sample_unipc", model, x_T, levels, Rng(0), options);
  const TwoStep two_step(loop);
  const Tensor newest = loop.number([](const SamplingStep& s) { return correction(s).newest; });
  const Tensor oldest = loop.number([](const SamplingStep& s) { return correction(s).oldest; });
  Tensor before = zeros_like(x_T);
  Tensor two_before = before.clone();
  return loop.run([&](const Tensor& x) {
    const Tensor x0 = loop.denoise(x).x0;
    const Tensor corrected = x + newest * (x0 - before) + oldest * (two_before - before);
    const Tensor next = two_step(corrected, x0, before);
    two_before.assign(before);
    before.assign(x0);
    return next;
  });
}

}  // namespace ito
