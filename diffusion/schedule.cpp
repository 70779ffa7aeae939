#include "diffusion/schedule.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numbers>
#include <utility>

#include "autograd/ops/layout.h"
#include "tensor/error.h"

namespace ito {

// A handful of coefficients, each on a device or two: a list is quicker than a map.
struct NoiseSchedule::Tables {
  struct Entry {
    Coefficient f;
    Tensor values;
  };
  std::mutex mutex;
  std::vector<Entry> entries;
};

namespace {

void expect_timesteps(const char* factory, std::int64_t timesteps) {
  constexpr std::int64_t most = 10'000'000;  // a table of 80 MB; more is a mistyped number
  if (timesteps < 1 || timesteps > most) {
    fail<ValueError>("{}: timesteps must be in [1, {}]; got {}", factory, most, timesteps);
  }
}

}  // namespace

NoiseSchedule NoiseSchedule::linear(std::int64_t timesteps, double beta_first, double beta_last) {
  expect_timesteps("NoiseSchedule::linear", timesteps);
  if (!(0.0 < beta_first && beta_first <= beta_last && beta_last < 1.0)) {
    fail<ValueError>(
        "NoiseSchedule::linear: needs 0 < beta_first <= beta_last < 1; got beta_first = {}, "
        "beta_last = {}",
        beta_first, beta_last);
  }
  std::vector<double> beta(static_cast<std::size_t>(timesteps));
  const double step =
      timesteps > 1 ? (beta_last - beta_first) / static_cast<double>(timesteps - 1) : 0.0;
  for (std::size_t t = 0; t < beta.size(); ++t) {
    beta[t] = beta_first + static_cast<double>(t) * step;
  }
  return NoiseSchedule(std::move(beta));
}

NoiseSchedule NoiseSchedule::cosine(std::int64_t timesteps, double s) {
  expect_timesteps("NoiseSchedule::cosine", timesteps);
  if (!(s > 0.0 && std::isfinite(s))) {
    fail<ValueError>("NoiseSchedule::cosine: s must be positive; got {}", s);
  }
  const auto f = [&](double t) {
    const double c =
        std::cos((t / static_cast<double>(timesteps) + s) / (1.0 + s) * std::numbers::pi / 2.0);
    return c * c;
  };
  std::vector<double> beta(static_cast<std::size_t>(timesteps));
  for (std::size_t i = 0; i < beta.size(); ++i) {
    const auto t = static_cast<double>(i);
    beta[i] = std::min(1.0 - f(t + 1.0) / f(t), 0.999);
  }
  return NoiseSchedule(std::move(beta));
}

NoiseSchedule NoiseSchedule::from_betas(std::vector<double> betas) {
  if (betas.empty()) fail<ValueError>("NoiseSchedule::from_betas: needs a beta; got none");
  for (std::size_t t = 0; t < betas.size(); ++t) {
    if (!(betas[t] > 0.0 && betas[t] < 1.0)) {
      fail<ValueError>("NoiseSchedule::from_betas: betas must be in (0, 1); got betas[{}] = {}", t,
                       betas[t]);
    }
  }
  return NoiseSchedule(std::move(betas));
}

NoiseSchedule::NoiseSchedule(std::vector<double> betas)
    : beta_(std::move(betas)), tables_(std::make_shared<Tables>()) {
  double alpha_bar = 1.0, log_alpha_bar = 0.0;
  for (const double beta : beta_) {
    alpha_bar *= 1.0 - beta;
    log_alpha_bar += std::log1p(-beta);
    alpha_bar_.push_back(alpha_bar);
    log_alpha_bar_.push_back(log_alpha_bar);
  }
}

std::size_t NoiseSchedule::index(std::int64_t t) const {
  if (t < 0 || t >= timesteps()) {
    fail<ValueError>("NoiseSchedule: timesteps count from 0 to {}; got {}", timesteps() - 1, t);
  }
  return static_cast<std::size_t>(t);
}

double NoiseSchedule::beta(std::int64_t t) const { return beta_[index(t)]; }

double NoiseSchedule::alpha(std::int64_t t) const { return 1.0 - beta(t); }

double NoiseSchedule::alpha_bar(std::int64_t t) const {
  return t == -1 ? 1.0 : alpha_bar_[index(t)];
}

double NoiseSchedule::one_minus_alpha_bar(std::int64_t t) const {
  return t == -1 ? 0.0 : -std::expm1(log_alpha_bar_[index(t)]);
}

double NoiseSchedule::sqrt_alpha_bar(std::int64_t t) const { return std::sqrt(alpha_bar(t)); }

double NoiseSchedule::sqrt_one_minus_alpha_bar(std::int64_t t) const {
  return std::sqrt(one_minus_alpha_bar(t));
}

double NoiseSchedule::beta_between(std::int64_t s, std::int64_t t) const {
  if (s < -1 || s >= t) {
    fail<ValueError>("beta_between: needs -1 <= s < t; got s = {}, t = {}", s, t);
  }
  const double log_alpha_bar_s = s == -1 ? 0.0 : log_alpha_bar_[index(s)];
  return -std::expm1(log_alpha_bar_[index(t)] - log_alpha_bar_s);
}

double NoiseSchedule::beta_tilde(std::int64_t t) const {
  return beta(t) * one_minus_alpha_bar(t - 1) / one_minus_alpha_bar(t);
}

double NoiseSchedule::log_beta_tilde_clipped(std::int64_t t) const {
  if (timesteps() == 1) return std::log(beta(t));
  return std::log(beta_tilde(index(t) == 0 ? 1 : t));
}

double NoiseSchedule::snr(std::int64_t t) const { return alpha_bar(t) / one_minus_alpha_bar(t); }

double NoiseSchedule::prior_kl(double second_moment) const {
  const double signal = alpha_bar_.back();  // KL of N(m, v) from N(0, 1): (v + m^2 - 1 - log v) / 2
  return 0.5 * (signal * second_moment - signal - std::log1p(-signal));
}

Tensor NoiseSchedule::table(Coefficient f, DType dtype, Device device) const {
  const std::lock_guard lock(tables_->mutex);
  for (const auto& [of, values] : tables_->entries) {
    if (of == f && values.dtype() == dtype && values.device() == device) return values;
  }
  std::vector<double> values;
  values.reserve(beta_.size());
  for (std::int64_t t = 0; t < timesteps(); ++t) values.push_back(f(*this, t));
  const Tensor table = convert(Tensor::from(values, {timesteps()}), dtype).to(device);
  tables_->entries.push_back({f, table});
  return table;
}

}  // namespace ito
