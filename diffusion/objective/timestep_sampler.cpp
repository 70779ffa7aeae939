#include "diffusion/objective/timestep_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/layout.h"
#include "tensor/check.h"
#include "tensor/error.h"

namespace ito {

TimestepSampler::TimestepSampler(std::int64_t timesteps, std::int64_t history, double uniform_share)
    : history_(history), uniform_share_(uniform_share) {
  if (timesteps < 1 || history < 1 || !(0.0 <= uniform_share && uniform_share <= 1.0)) {
    fail<ValueError>(
        "TimestepSampler: needs timesteps >= 1, history >= 1 and a share in [0, 1]; got {}, {}, {}",
        timesteps, history, uniform_share);
  }
  losses_.resize(static_cast<std::size_t>(timesteps));
}

std::vector<double> TimestepSampler::probabilities() const {
  const auto T = static_cast<double>(losses_.size());
  std::vector<double> p(losses_.size(), 1.0 / T);
  const auto full = [&](const std::vector<float>& of_t) {
    return static_cast<std::int64_t>(of_t.size()) == history_;
  };
  if (!std::all_of(losses_.begin(), losses_.end(), full)) return p;
  std::vector<double> size;
  for (const auto& of_t : losses_) {
    double sum = 0.0;
    for (const float loss : of_t) sum += double{loss} * double{loss};
    size.push_back(std::sqrt(sum / static_cast<double>(history_)));
  }
  const double all = std::accumulate(size.begin(), size.end(), 0.0);
  if (all == 0.0) return p;
  for (std::size_t t = 0; t < p.size(); ++t) {
    p[t] = (1.0 - uniform_share_) * size[t] / all + uniform_share_ / T;
  }
  return p;
}

TimestepSampler::Draw TimestepSampler::draw(Rng& rng, std::int64_t n) const {
  const std::vector<double> p = probabilities();
  std::vector<double> below(p.size());  // the probability of a timestep up to this one
  std::partial_sum(p.begin(), p.end(), below.begin());
  const std::vector<double> u = rand(rng, {n}, DType::f64).to_vector<double>();
  std::vector<std::int64_t> t(u.size());
  std::vector<float> weight(u.size());
  for (std::size_t i = 0; i < u.size(); ++i) {
    const auto found = std::upper_bound(below.begin(), below.end() - 1, u[i] * below.back());
    const auto at = static_cast<std::size_t>(found - below.begin());
    t[i] = static_cast<std::int64_t>(at);
    weight[i] = static_cast<float>(1.0 / (static_cast<double>(p.size()) * p[at]));
  }
  return {Tensor::from(t, {n}), Tensor::from(weight, {n})};
}

void TimestepSampler::update(const Tensor& t, const Tensor& losses) {
  expect_dtype("TimestepSampler", "t", t, DType::i64);
  expect_shape("TimestepSampler", "losses", losses, t.shape());
  update(t.to_vector<std::int64_t>(), cast(losses, DType::f32).to_vector<float>());
}

void TimestepSampler::update(const std::vector<std::int64_t>& t, const std::vector<float>& losses) {
  for (std::size_t i = 0; i < t.size(); ++i) {
    if (!std::isfinite(losses[i])) continue;
    auto& of_t = losses_.at(static_cast<std::size_t>(t[i]));
    if (static_cast<std::int64_t>(of_t.size()) == history_) of_t.erase(of_t.begin());
    of_t.push_back(losses[i]);
  }
}

Tensor TimestepSampler::state() const {
  const auto width = static_cast<std::size_t>(history_) + 1;
  std::vector<float> rows(losses_.size() * width, 0.0F);
  for (std::size_t t = 0; t < losses_.size(); ++t) {
    rows[t * width] = static_cast<float>(losses_[t].size());
    std::copy(losses_[t].begin(), losses_[t].end(),
              rows.begin() + static_cast<std::ptrdiff_t>(t * width + 1));
  }
  return Tensor::from(rows, {static_cast<std::int64_t>(losses_.size()), history_ + 1});
}

void TimestepSampler::restore(const Tensor& state) {
  expect_dtype("TimestepSampler", "state", state, DType::f32);
  expect_shape("TimestepSampler", "state", state,
               {static_cast<std::int64_t>(losses_.size()), history_ + 1});
  const std::vector<float> rows = state.to_vector<float>();
  const auto width = static_cast<std::size_t>(history_) + 1;
  for (std::size_t t = 0; t < losses_.size(); ++t) {
    const float count = rows[t * width];
    if (!(count >= 0.0F && count <= static_cast<float>(history_))) {
      fail<ValueError>("TimestepSampler: a number of losses must be in [0, {}]; got {} at t = {}",
                       history_, count, t);
    }
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(t * width + 1);
    losses_[t].assign(first, first + static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace ito
