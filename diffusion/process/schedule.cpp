#include "diffusion/process/schedule.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numbers>
#include <numeric>
#include <utility>

#include "autograd/engine.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"
#include "tensor/cuda_graph.h"

namespace ito {

struct NoiseSchedule::Tables {
  struct Entry {
    DType dtype;
    Device device;
    Levels levels;
  };
  std::mutex mutex;
  std::vector<Entry> entries;  // one or two
};

namespace {

void expect_timesteps(const char* factory, std::int64_t timesteps) {
  constexpr std::int64_t most = 10'000'000;  // a table of 80 MB; more is a mistyped number
  if (timesteps < 1 || timesteps > most) {
    fail<ValueError>("{}: timesteps must be in [1, {}]; got {}", factory, most, timesteps);
  }
}

void expect_ends(const char* factory, double first, double last) {
  if (!(0.0 < first && first <= last && last < 1.0)) {
    fail<ValueError>(
        "{}: needs 0 < beta_first <= beta_last < 1; got beta_first = {}, beta_last = {}", factory,
        first, last);
  }
}

// What each name stands for. Names are part of the checkpoint format.
struct NamedSchedule {
  const char* name;
  NoiseSchedule (*make)(std::int64_t timesteps);
};

constexpr NamedSchedule named_schedules[] = {
    {"linear", [](std::int64_t T) { return NoiseSchedule::linear(T); }},
    {"linear-rescaled", [](std::int64_t T) { return NoiseSchedule::linear_rescaled(T); }},
    {"linear-zero-snr",
     [](std::int64_t T) { return NoiseSchedule::linear(T).with_zero_terminal_snr(); }},
    {"cosine", [](std::int64_t T) { return NoiseSchedule::cosine(T); }},
    {"cosine-zero-snr",
     [](std::int64_t T) { return NoiseSchedule::cosine(T).with_zero_terminal_snr(); }},
    {"quadratic", [](std::int64_t T) { return NoiseSchedule::quadratic(T); }},
    {"stable-diffusion",
     [](std::int64_t T) { return NoiseSchedule::quadratic(T, 0.00085, 0.012); }},
    {"constant", [](std::int64_t T) { return NoiseSchedule::constant(T); }},
    {"jsd", [](std::int64_t T) { return NoiseSchedule::jsd(T); }},
    {"warmup10", [](std::int64_t T) { return NoiseSchedule::warmup(T, 0.1); }},
    {"warmup50", [](std::int64_t T) { return NoiseSchedule::warmup(T, 0.5); }},
    {"karras", [](std::int64_t T) { return NoiseSchedule::karras(T); }},
};

// `count` numbers, the first and the last as given; the first alone for one.
std::vector<double> evenly_between(double first, double last, std::int64_t count) {
  const double step = count > 1 ? (last - first) / static_cast<double>(count - 1) : 0.0;
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = first + static_cast<double>(i) * step;
  }
  return values;
}

// 0, 1, ..., count - 1.
std::vector<std::int64_t> counted(std::size_t count) {
  std::vector<std::int64_t> times(count);
  std::iota(times.begin(), times.end(), 0);
  return times;
}

}  // namespace

NoiseSchedule NoiseSchedule::linear(std::int64_t timesteps, double beta_first, double beta_last) {
  expect_timesteps("NoiseSchedule::linear", timesteps);
  expect_ends("NoiseSchedule::linear", beta_first, beta_last);
  return NoiseSchedule(evenly_between(beta_first, beta_last, timesteps));
}

NoiseSchedule NoiseSchedule::linear_rescaled(std::int64_t timesteps) {
  expect_timesteps("NoiseSchedule::linear_rescaled", timesteps);
  if (timesteps <= 20) {  // the last beta would be 1
    fail<ValueError>("NoiseSchedule::linear_rescaled: timesteps must be at least 21; got {}",
                     timesteps);
  }
  const double scale = 1000.0 / static_cast<double>(timesteps);
  return linear(timesteps, scale * 1e-4, scale * 0.02);
}

NoiseSchedule NoiseSchedule::quadratic(std::int64_t timesteps, double beta_first,
                                       double beta_last) {
  expect_timesteps("NoiseSchedule::quadratic", timesteps);
  expect_ends("NoiseSchedule::quadratic", beta_first, beta_last);
  std::vector<double> beta = evenly_between(std::sqrt(beta_first), std::sqrt(beta_last), timesteps);
  for (double& b : beta) b *= b;
  return NoiseSchedule(std::move(beta));
}

NoiseSchedule NoiseSchedule::constant(std::int64_t timesteps, double beta) {
  expect_timesteps("NoiseSchedule::constant", timesteps);
  expect_ends("NoiseSchedule::constant", beta, beta);
  return NoiseSchedule(std::vector<double>(static_cast<std::size_t>(timesteps), beta));
}

NoiseSchedule NoiseSchedule::jsd(std::int64_t timesteps) {
  expect_timesteps("NoiseSchedule::jsd", timesteps);
  std::vector<double> alpha_bar;
  for (std::int64_t left = timesteps - 1; left >= 0; --left) {
    alpha_bar.push_back(static_cast<double>(left) / static_cast<double>(timesteps));
  }
  return from_alpha_bars(alpha_bar);
}

NoiseSchedule NoiseSchedule::warmup(std::int64_t timesteps, double fraction, double beta_first,
                                    double beta_last) {
  expect_timesteps("NoiseSchedule::warmup", timesteps);
  expect_ends("NoiseSchedule::warmup", beta_first, beta_last);
  if (!(fraction >= 0.0 && fraction <= 1.0)) {
    fail<ValueError>("NoiseSchedule::warmup: fraction must be in [0, 1]; got {}", fraction);
  }
  const auto rising = static_cast<std::int64_t>(static_cast<double>(timesteps) * fraction);
  std::vector<double> beta = evenly_between(beta_first, beta_last, rising);
  beta.resize(static_cast<std::size_t>(timesteps), beta_last);
  return NoiseSchedule(std::move(beta));
}

NoiseSchedule NoiseSchedule::karras(std::int64_t timesteps, double sigma_first, double sigma_last,
                                    double rho) {
  expect_timesteps("NoiseSchedule::karras", timesteps);
  const bool ends = sigma_first > 0.0 && sigma_first < sigma_last && std::isfinite(sigma_last);
  if (!ends || !(rho > 0.0 && std::isfinite(rho))) {
    fail<ValueError>(
        "NoiseSchedule::karras: needs 0 < sigma_first < sigma_last and rho > 0; got sigma_first = "
        "{}, sigma_last = {}, rho = {}",
        sigma_first, sigma_last, rho);
  }
  if (timesteps == 1) return from_sigmas({sigma_last});
  std::vector<double> sigma =
      evenly_between(std::pow(sigma_first, 1.0 / rho), std::pow(sigma_last, 1.0 / rho), timesteps);
  for (double& s : sigma) s = std::pow(s, rho);
  return from_sigmas(sigma);
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
    const bool last = t + 1 == betas.size();
    if (!(betas[t] > 0.0 && (betas[t] < 1.0 || (last && betas[t] == 1.0)))) {
      fail<ValueError>(
          "NoiseSchedule::from_betas: betas must be in (0, 1), and only the last may be 1; got "
          "betas[{}] = {}",
          t, betas[t]);
    }
  }
  return NoiseSchedule(std::move(betas));
}

NoiseSchedule NoiseSchedule::from_alpha_bars(const std::vector<double>& alpha_bars) {
  if (alpha_bars.empty()) {
    fail<ValueError>("NoiseSchedule::from_alpha_bars: needs an alpha_bar; got none");
  }
  std::vector<double> log_alpha_bar;
  double before = 1.0;
  for (std::size_t t = 0; t < alpha_bars.size(); ++t) {
    const bool last = t + 1 == alpha_bars.size();
    const double alpha_bar = alpha_bars[t];
    if (!(alpha_bar < before && (alpha_bar > 0.0 || (last && alpha_bar == 0.0)))) {
      fail<ValueError>(
          "NoiseSchedule::from_alpha_bars: must fall strictly from 1 and stay above 0, which only "
          "the last may be; got alpha_bars[{}] = {} after {}",
          t, alpha_bar, before);
    }
    log_alpha_bar.push_back(std::log(alpha_bar));
    before = alpha_bar;
  }
  return NoiseSchedule(alpha_bars, std::move(log_alpha_bar));
}

NoiseSchedule NoiseSchedule::from_sigmas(const std::vector<double>& sigmas) {
  if (sigmas.empty()) fail<ValueError>("NoiseSchedule::from_sigmas: needs a sigma; got none");
  std::vector<double> alpha_bar, log_alpha_bar;
  double before = 0.0;
  for (std::size_t t = 0; t < sigmas.size(); ++t) {
    const double sigma = sigmas[t];
    if (!(sigma > before && std::isfinite(sigma))) {
      fail<ValueError>(
          "NoiseSchedule::from_sigmas: must rise strictly from 0 and be finite; got sigmas[{}] = "
          "{} after {}",
          t, sigma, before);
    }
    alpha_bar.push_back(1.0 / (1.0 + sigma * sigma));
    log_alpha_bar.push_back(-std::log1p(sigma * sigma));
    before = sigma;
  }
  return NoiseSchedule(std::move(alpha_bar), std::move(log_alpha_bar));
}

NoiseSchedule NoiseSchedule::named(const std::string& name, std::int64_t timesteps) {
  for (const NamedSchedule& schedule : named_schedules) {
    if (name == schedule.name) return schedule.make(timesteps);
  }
  fail<ValueError>("schedule: must be one of {}; got \"{}\"", fmt::join(names(), ", "), name);
}

std::vector<std::string> NoiseSchedule::names() {
  std::vector<std::string> names;
  for (const NamedSchedule& schedule : named_schedules) names.emplace_back(schedule.name);
  return names;
}

NoiseSchedule NoiseSchedule::respaced(const std::vector<std::int64_t>& visited) const {
  if (visited.empty()) fail<ValueError>("respaced: needs a timestep; got none");
  std::vector<double> alpha_bar, log_alpha_bar;
  std::int64_t before = -1;
  for (const std::int64_t t : visited) {
    if (t <= before) {
      fail<ValueError>("respaced: timesteps must rise strictly from 0; got {} after {}", t, before);
    }
    alpha_bar.push_back(alpha_bar_[index(t)]);
    log_alpha_bar.push_back(log_alpha_bar_[index(t)]);
    before = t;
  }
  NoiseSchedule chain(std::move(alpha_bar), std::move(log_alpha_bar));
  for (std::size_t i = 0; i < visited.size(); ++i) chain.times_[i] = times_[index(visited[i])];
  return chain;
}

NoiseSchedule NoiseSchedule::with_zero_terminal_snr() const {
  if (timesteps() < 2) {
    fail<ValueError>("with_zero_terminal_snr: needs two timesteps; got {}", timesteps());
  }
  // sqrt(alpha_bar) becomes r_0 (r_t - r_T) / (r_0 - r_T) = r_0 (1 - d_t / d_T) with
  // d_t = 1 - r_t / r_0, by its logarithm so that 1 - alpha_bar keeps its digits.
  const auto d = [this](double log_alpha_bar) {
    return -std::expm1(0.5 * (log_alpha_bar - log_alpha_bar_.front()));
  };
  const double d_last = d(log_alpha_bar_.back());
  std::vector<double> alpha_bar, log_alpha_bar;
  for (const double old : log_alpha_bar_) {
    log_alpha_bar.push_back(log_alpha_bar_.front() + 2.0 * std::log1p(-d(old) / d_last));
    alpha_bar.push_back(std::exp(log_alpha_bar.back()));
  }
  return NoiseSchedule(std::move(alpha_bar), std::move(log_alpha_bar));
}

NoiseSchedule::NoiseSchedule(std::vector<double> alpha_bar, std::vector<double> log_alpha_bar)
    : alpha_bar_(std::move(alpha_bar)),
      log_alpha_bar_(std::move(log_alpha_bar)),
      tables_(std::make_shared<Tables>()) {
  double before = 0.0;
  for (const double log_alpha_bar_t : log_alpha_bar_) {
    beta_.push_back(-std::expm1(log_alpha_bar_t - before));
    before = log_alpha_bar_t;
  }
  times_ = counted(beta_.size());
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
  times_ = counted(beta_.size());
}

std::size_t NoiseSchedule::index(std::int64_t t) const {
  if (t < 0 || t >= timesteps()) {
    fail<ValueError>("NoiseSchedule: timesteps count from 0 to {}; got {}", timesteps() - 1, t);
  }
  return static_cast<std::size_t>(t);
}

double NoiseSchedule::beta(std::int64_t t) const { return beta_[index(t)]; }

double NoiseSchedule::alpha_bar(std::int64_t t) const { return alpha_bar_[index(t)]; }

double NoiseSchedule::one_minus_alpha_bar(std::int64_t t) const {
  return -std::expm1(log_alpha_bar_[index(t)]);
}

double NoiseSchedule::beta_tilde(std::int64_t t) const {
  return t == 0 ? 0.0 : beta(t) * one_minus_alpha_bar(t - 1) / one_minus_alpha_bar(t);
}

double NoiseSchedule::log_beta_tilde_clipped(std::int64_t t) const {
  if (timesteps() == 1) return std::log(beta(t));
  return std::log(beta_tilde(index(t) == 0 ? 1 : t));
}

double NoiseSchedule::snr(std::int64_t t) const { return alpha_bar(t) / one_minus_alpha_bar(t); }

double NoiseSchedule::log_snr(std::int64_t t) const {
  return -std::log(std::expm1(-log_alpha_bar_[index(t)]));
}

double NoiseSchedule::prior_kl(double second_moment) const {
  const double signal = alpha_bar_.back();  // KL of N(m, v) from N(0, 1): (v + m^2 - 1 - log v) / 2
  return 0.5 * (signal * second_moment - signal - std::log1p(-signal));
}

Level NoiseSchedule::level(std::int64_t t) const {
  return {static_cast<double>(times_[index(t)]), std::sqrt(alpha_bar(t)),
          std::sqrt(one_minus_alpha_bar(t))};
}

std::vector<Level> NoiseSchedule::levels() const {
  std::vector<Level> levels;
  for (std::int64_t t = 0; t < timesteps(); ++t) levels.push_back(level(t));
  return levels;
}

Level NoiseSchedule::level_at(double noise_to_signal) const {
  if (!(noise_to_signal > 0.0)) {
    fail<ValueError>("level_at: the ratio of noise to signal must be positive; got {}",
                     noise_to_signal);
  }
  const double log_ratio = std::log(noise_to_signal);
  const auto log_ratio_of = [this](std::int64_t t) { return -0.5 * log_snr(t); };
  std::int64_t below = -1, above = timesteps();  // the level lies between these two
  while (above - below > 1) {
    const std::int64_t middle = below + (above - below) / 2;
    (log_ratio_of(middle) <= log_ratio ? below : above) = middle;
  }
  if (below == -1) return level(0);
  if (above == timesteps()) return level(timesteps() - 1);
  const Level low = level(below), high = level(above);
  const double width = log_ratio_of(above) - log_ratio_of(below);  // infinite where SNR ends at 0
  const double share = (log_ratio - log_ratio_of(below)) / width;
  const double norm = std::sqrt(1.0 + noise_to_signal * noise_to_signal);
  return {low.time + share * (high.time - low.time), 1.0 / norm, noise_to_signal / norm};
}

Levels NoiseSchedule::tables(DType dtype, Device device) const {
  const std::lock_guard lock(tables_->mutex);
  for (const auto& entry : tables_->entries) {
    if (entry.dtype == dtype && entry.device == device) return entry.levels;
  }
  std::vector<double> time, alpha, sigma;
  for (const Level& level : levels()) {
    time.push_back(level.time);
    alpha.push_back(level.alpha);
    sigma.push_back(level.sigma);
  }
  const auto table = [&](const std::vector<double>& values) {
    return cast(Tensor::from(values, {timesteps()}), dtype).to(device);
  };
  tables_->entries.push_back({dtype, device, {table(time), table(alpha), table(sigma)}});
  return tables_->entries.back().levels;
}

Levels NoiseSchedule::levels(const Tensor& t, const Tensor& x) const {
  expect_defined("levels", "x", x);
  expect_defined("levels", "t", t);
  expect_floating("levels", "x", x);
  expect_dtype("levels", "t", t, DType::i64);
  if (x.rank() < 1) fail<ShapeError>("levels: x must be [N, ...]; got {}", x.str());
  expect_shape("levels", "t", t, {x.size(0)});
  if (!capturing()) {  // else nothing can be read back, and gather gives NaN for a bad t
    for (const std::int64_t step : t.to_vector<std::int64_t>()) index(step);
  }
  const NoGrad no_grad;  // constants
  const Levels of = tables(x.dtype(), x.device());
  return {gather(of.time, t), append_dims(gather(of.alpha, t), x),
          append_dims(gather(of.sigma, t), x)};
}

}  // namespace ito
