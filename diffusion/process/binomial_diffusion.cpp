#include "diffusion/process/binomial_diffusion.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

// f(t[n]) of each sample as [N, 1, ..., 1].
Tensor at_timesteps(const NoiseSchedule& schedule, const Tensor& t, const Tensor& x,
                    double (*f)(const NoiseSchedule& schedule, std::int64_t t)) {
  expect_floating("binomial_diffusion", "x", x);
  if (x.rank() < 1) fail<ShapeError>("binomial_diffusion: x must be [N, ...]; got {}", x.str());
  expect_dtype("binomial_diffusion", "t", t, DType::i64);
  expect_shape("binomial_diffusion", "t", t, {x.size(0)});
  std::vector<double> values;
  for (const std::int64_t step : t.to_vector<std::int64_t>()) values.push_back(f(schedule, step));
  return append_dims(cast(Tensor::from(values, {x.size(0)}), x.dtype()), x);
}

double alpha_bar(const NoiseSchedule& schedule, std::int64_t t) { return schedule.alpha_bar(t); }
double alpha_bar_before(const NoiseSchedule& schedule, std::int64_t t) {
  return t == 0 ? 1.0 : schedule.alpha_bar(t - 1);
}
double beta(const NoiseSchedule& schedule, std::int64_t t) { return schedule.beta(t); }

// The probability of a 1 where the bit is kept with probability `keep` and tossed otherwise.
Tensor noisy(const Tensor& keep, const Tensor& x0) { return keep * x0 + 0.5 * (1.0 - keep); }

Tensor safe_log(const Tensor& p) { return log(clamp(p, 1e-12, 1.0)); }

// KL between bits that are 1 with probabilities p and q.
Tensor divergence(const Tensor& p, const Tensor& q) {
  return p * (safe_log(p) - safe_log(q)) + (1.0 - p) * (safe_log(1.0 - p) - safe_log(1.0 - q));
}

}  // namespace

Tensor BinomialDiffusion::probability(const Tensor& x0, const Tensor& t) const {
  return noisy(at_timesteps(schedule, t, x0, alpha_bar), x0);
}

Tensor BinomialDiffusion::add_noise(const Tensor& x0, const Tensor& t,
                                    const Tensor& uniform) const {
  expect_shape("binomial_diffusion", "uniform", uniform, x0.shape());
  return uniform < probability(x0, t);
}

// Bayes' rule for a known x_0, averaged over what x_0 may be.
Tensor BinomialDiffusion::step_back(const Tensor& p0, const Tensor& x_t, const Tensor& t) const {
  expect_shape("binomial_diffusion", "x_t", x_t, p0.shape());
  const Tensor tossed = at_timesteps(schedule, t, x_t, beta);
  const Tensor kept_before = at_timesteps(schedule, t, x_t, alpha_bar_before);
  const Tensor after_1 = noisy(1.0 - tossed, x_t);  // q(x_t | x_{t-1} = 1), symmetric in the two
  const Tensor after_0 = 1.0 - after_1;
  const auto given_x0 = [&](const Tensor& x0) {
    const Tensor before = noisy(kept_before, x0);  // q(x_{t-1} = 1 | x_0)
    return after_1 * before / (after_1 * before + after_0 * (1.0 - before));
  };
  const Tensor one = Tensor::full({}, 1.0, x_t.dtype(), x_t.device());
  return p0 * given_x0(one) + (1.0 - p0) * given_x0(0.0 * one);
}

Tensor BinomialDiffusion::bound_terms(const BitNetwork& model, const Tensor& x0, const Tensor& x_t,
                                      const Tensor& t) const {
  const Tensor logits = model(x_t, t);
  expect_shape("binomial_diffusion", "the model's output", logits, x0.shape());
  const Tensor kl = divergence(step_back(x0, x_t, t), step_back(sigmoid(logits), x_t, t));
  return sum(reshape(kl, Shape{x0.size(0), x0.numel() / x0.size(0)}), {1});
}

double BinomialDiffusion::prior_kl() const {
  const double p = 0.5 * (1.0 + schedule.alpha_bar(schedule.timesteps() - 1));
  return std::log(2.0) + p * std::log(p) + (p < 1.0 ? (1.0 - p) * std::log1p(-p) : 0.0);
}

Tensor BinomialDiffusion::sample(const BitNetwork& model, const Shape& shape, Rng rng,
                                 DType dtype) const {
  const NoGrad no_grad;
  const std::uint64_t first = rng.first_sample();
  rng.seek(0, first);
  Tensor x = rand(rng, shape, dtype) < 0.5;
  for (std::int64_t i = schedule.timesteps() - 1; i >= 0; --i) {
    const Tensor t = Tensor::full({x.size(0)}, static_cast<double>(i), DType::i64);
    rng.seek(static_cast<std::uint64_t>(i) + 1, first);
    x = rand(rng, shape, dtype) < step_back(sigmoid(model(x, t)), x, t);
  }
  return x;
}

}  // namespace ito
