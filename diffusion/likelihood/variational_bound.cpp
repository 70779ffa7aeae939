#include "diffusion/likelihood/variational_bound.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>
#include <utility>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

// f(t) at every timestep, computed in double precision.
Tensor by_timestep(const NoiseSchedule& schedule, DType dtype, Device device,
                   const std::function<double(std::int64_t t)>& f) {
  std::vector<double> values;
  for (std::int64_t t = 0; t < schedule.timesteps(); ++t) values.push_back(f(t));
  return cast(Tensor::from(values, {schedule.timesteps()}), dtype).to(device);
}

// The level that the step at timestep t leads to.
Level level_before(const NoiseSchedule& schedule, std::int64_t t) {
  return t == 0 ? Level::clean() : schedule.level(t - 1);
}

// Rows of a table at t [N], shaped to broadcast with x [N, ...].
Tensor at(const Tensor& table, const Tensor& t, const Tensor& x) {
  return append_dims(gather(table, t), x);
}

// KL(N(m, a) || N(m, b)) with log_ratio = log(b / a).
Tensor divergence_of_variances(const Tensor& log_ratio) {
  return 0.5 * (log_ratio + exp(-log_ratio) - 1.0);
}
double divergence_of_variances(double log_ratio) {
  return 0.5 * (log_ratio + std::expm1(-log_ratio));
}

// The variance of p at t where it is one number. At t = 0, where beta_tilde is 0, Ho et al. take
// that of t = 1; `analytic` keeps its own, above a floor that has a logarithm.
double fixed_log_variance(const NoiseSchedule& schedule, const BoundOptions& options,
                          std::int64_t t) {
  const bool analytic = options.variance == ReverseVariance::analytic;
  if (options.variance == ReverseVariance::learned || (t == 0 && !analytic)) {
    return schedule.log_beta_tilde_clipped(t);
  }
  const double mean_squared_eps =
      analytic ? options.mean_squared_eps[static_cast<std::size_t>(t)] : 1.0;
  constexpr double floor = 1e-12;
  return std::log(std::max(reverse_variance(schedule.level(t), level_before(schedule, t),
                                            options.variance, mean_squared_eps),
                           floor));
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> values_of(const Tensor& x) { return cast(x, DType::f64).to_vector<double>(); }

Tensor to_tensor(const std::vector<std::int64_t>& t, Device device) {
  return Tensor::from(t, {std::ssize(t)}).to(device);
}

// A table without terms, for images whose prior is `prior` [N].
BoundTable empty_table(std::int64_t timesteps, const Tensor& prior) {
  const std::vector<double> zeros(static_cast<std::size_t>(timesteps), 0.0);
  BoundTable table;
  table.nats = table.x0_error = table.eps_error = zeros;
  table.of_image = values_of(prior);
  table.prior = mean_of(table.of_image);
  return table;
}

// Adds the term at t[i] of each image i, times a weight.
void accumulate(BoundTable& table, const BoundTerms& terms, const std::vector<std::int64_t>& t,
                const std::vector<double>& weight) {
  const std::vector<double> nats = values_of(terms.nats), x0_error = values_of(terms.x0_error);
  const std::vector<double> eps_error = values_of(terms.eps_error);
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto at = static_cast<std::size_t>(t[i]);
    const double share = weight[i] / static_cast<double>(t.size());
    table.of_image[i] += weight[i] * nats[i];
    table.nats[at] += share * nats[i];
    table.x0_error[at] += share * x0_error[i];
    table.eps_error[at] += share * eps_error[i];
  }
}

}  // namespace

VariationalBound::VariationalBound(NoiseSchedule schedule, BoundOptions options, DType dtype,
                                   Device device)
    : schedule_(std::move(schedule)), options_(std::move(options)) {
  const auto given = static_cast<std::int64_t>(options_.mean_squared_eps.size());
  if (options_.variance == ReverseVariance::analytic && given != schedule_.timesteps()) {
    fail<ValueError>(
        "VariationalBound: the analytic variance needs a mean_squared_eps for each of the {} "
        "timesteps; got {}",
        schedule_.timesteps(), given);
  }
  const auto table = [&](const std::function<double(std::int64_t)>& f) {
    return by_timestep(schedule_, dtype, device, f);
  };
  const auto log_variance = [&](std::int64_t t) {
    return fixed_log_variance(schedule_, options_, t);
  };
  log_variance_ = table(log_variance);
  log_beta_ = table([&](std::int64_t t) { return std::log(schedule_.beta(t)); });
  log_beta_tilde_ = table([&](std::int64_t t) { return schedule_.log_beta_tilde_clipped(t); });
  weight_x0_ = table([&](std::int64_t t) {
    return posterior_step(schedule_.level(t), level_before(schedule_, t)).weight_x0;
  });
  weight_x_t_ = table([&](std::int64_t t) {
    return posterior_step(schedule_.level(t), level_before(schedule_, t)).weight_x_t;
  });
  variance_kl_ = table([&](std::int64_t t) {
    return divergence_of_variances(log_variance(t) - schedule_.log_beta_tilde_clipped(t));
  });
}

Tensor VariationalBound::prior(const Tensor& x0) const {
  const double signal = schedule_.alpha_bar(schedule_.timesteps() - 1);
  return mean_flat(0.5 * signal * square(x0)) + schedule_.prior_kl(0.0);
}

Tensor VariationalBound::log_variance(const Tensor& learned, const Tensor& t,
                                      const Tensor& x) const {
  if (options_.variance != ReverseVariance::learned) return at(log_variance_, t, x);
  if (!learned.defined()) {
    fail<ValueError>(
        "VariationalBound: the variance is to be learned, but the network puts out no more than "
        "its prediction, for {}",
        describe({{"x_t", x}}));
  }
  return learned_log_variance(learned, at(log_beta_, t, x), at(log_beta_tilde_, t, x));
}

ReverseStep VariationalBound::reverse_step(const Denoiser& model, const Tensor& x_t,
                                           const Tensor& t) const {
  const Denoised d = model(x_t, schedule_.levels(t, x_t));
  return {at(weight_x0_, t, x_t) * d.x0 + at(weight_x_t_, t, x_t) * x_t,
          log_variance(d.variance, t, x_t), d.x0};
}

BoundTerms VariationalBound::terms(const Denoiser& model, const Tensor& x0, const Tensor& t,
                                   const Tensor& eps) const {
  const Levels levels = schedule_.levels(t, x0);
  const Tensor x_t = add_noise(x0, eps, levels);
  return terms_of(model(x_t, levels), x_t, x0, t, eps);
}

BoundTerms VariationalBound::terms_of(const Denoised& d, const Tensor& x_t, const Tensor& x0,
                                      const Tensor& t, const Tensor& eps) const {
  const Tensor log_sigma2 = log_variance(d.variance, t, x_t);
  const Tensor x0_error = square(x0 - d.x0);

  // Both means are weight_x0 x_0 + weight_x_t x_t: they differ by the estimate of x_0 alone.
  const Tensor of_variances =
      options_.variance == ReverseVariance::learned
          ? divergence_of_variances(log_sigma2 - at(log_beta_tilde_, t, x_t))
          : at(variance_kl_, t, x_t);
  const Tensor of_means = 0.5 * square(at(weight_x0_, t, x_t)) * exp(-log_sigma2) * x0_error;
  const Tensor decoder = -decoder_log_probability(x0, d.x0, log_sigma2, options_.decoder);
  const Tensor is_decoder = reshape(cast(t, x0.dtype()), at(weight_x0_, t, x_t).shape()) < 0.5;
  return {mean_flat(where(is_decoder, decoder, of_variances + of_means)), mean_flat(x0_error),
          mean_flat(square(eps - d.eps))};
}

BoundTable VariationalBound::evaluate(const Denoiser& model, const Tensor& x0, Rng rng) const {
  const NoGrad no_grad;
  const std::uint64_t first_sample = rng.first_sample();
  BoundTable table = empty_table(schedule_.timesteps(), prior(x0));
  for (std::int64_t t = 0; t < schedule_.timesteps(); ++t) {
    rng.seek(static_cast<std::uint64_t>(t) + 1, first_sample);
    const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
    const std::vector<std::int64_t> of_each(table.of_image.size(), t);
    accumulate(table, terms(model, x0, to_tensor(of_each, x0.device()), eps), of_each,
               std::vector<double>(of_each.size(), 1.0));
  }
  return table;
}

BoundTable VariationalBound::estimate(const Denoiser& model, const Tensor& x0, Rng rng,
                                      std::int64_t draws) const {
  const NoGrad no_grad;
  const std::int64_t T = schedule_.timesteps();
  if (draws < 1 || T < 2) {
    fail<ValueError>("VariationalBound: needs at least one draw of two timesteps; got {} of {}",
                     draws, T);
  }
  // Timestep t >= 1 is drawn with a probability proportional to 1 / t.
  std::vector<double> below = {0.0};  // the sum of these up to t
  for (std::int64_t t = 1; t < T; ++t) below.push_back(below.back() + 1.0 / static_cast<double>(t));
  const std::uint64_t first_sample = rng.first_sample();
  const auto per_draw = 1.0 / static_cast<double>(draws);
  BoundTable table = empty_table(T, prior(x0));
  std::vector<std::int64_t> t(table.of_image.size(), 0);
  std::vector<double> weight(t.size(), 1.0);
  for (std::int64_t k = 0; k <= draws; ++k) {  // draw 0 is the decoder
    rng.seek(static_cast<std::uint64_t>(k) + 1, first_sample);
    const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
    const std::vector<double> u = rand(rng, {x0.size(0)}, DType::f64).to_vector<double>();
    for (std::size_t i = 0; k > 0 && i < t.size(); ++i) {
      // Draw k lies in the k-th of equal parts: less noise than independent draws.
      const double level = (static_cast<double>(k - 1) + u[i]) * per_draw * below.back();
      const auto found = std::upper_bound(below.begin(), below.end() - 1, level);
      t[i] = found - below.begin();
      weight[i] = per_draw * static_cast<double>(t[i]) * below.back();
    }
    accumulate(table, terms(model, x0, to_tensor(t, x0.device()), eps), t, weight);
  }
  return table;
}

void BoundTable::add(const BoundTable& more) {
  if (more.nats.size() != nats.size()) {
    fail<ValueError>("BoundTable: both must have the same timesteps; got {} and {}", nats.size(),
                     more.nats.size());
  }
  const double all = static_cast<double>(images() + more.images());
  const double old_share = static_cast<double>(images()) / all;
  const double new_share = static_cast<double>(more.images()) / all;
  const auto average = [&](double& mean, double other) {
    mean = old_share * mean + new_share * other;
  };
  for (std::size_t t = 0; t < nats.size(); ++t) {
    average(nats[t], more.nats[t]);
    average(x0_error[t], more.x0_error[t]);
    average(eps_error[t], more.eps_error[t]);
  }
  average(prior, more.prior);
  of_image.insert(of_image.end(), more.of_image.begin(), more.of_image.end());
}

double BoundTable::total() const { return rate(-1); }

double BoundTable::bits_per_dimension() const { return total() / std::numbers::ln2; }

double BoundTable::standard_error_bits() const {
  const double n = static_cast<double>(images()), center = mean_of(of_image);
  double sum = 0.0;
  for (const double nats_of_image : of_image) {
    sum += (nats_of_image - center) * (nats_of_image - center);
  }
  return std::sqrt(sum / (n - 1.0) / n) / std::numbers::ln2;
}

double BoundTable::rate(std::int64_t t) const {
  return std::accumulate(nats.begin() + t + 1, nats.end(), prior);
}

}  // namespace ito
