#include "diffusion/sampling/sampling_loop.h"

#include <algorithm>
#include <cmath>

#include "tensor/check.h"
#include "tensor/cuda_graph.h"

namespace ito {
namespace {

std::vector<Level> checked(const char* sampler, std::span<const Level> levels) {
  if (levels.size() < 2) {
    fail<ValueError>("{}: needs at least two noise levels; got {}", sampler, levels.size());
  }
  for (const Level& level : levels) {
    const bool finite = std::isfinite(level.alpha) && std::isfinite(level.sigma);
    if (!finite || level.alpha < 0.0 || level.sigma < 0.0 || level.alpha + level.sigma == 0.0) {
      fail<ValueError>("{}: no noise level: alpha = {}, sigma = {}", sampler, level.alpha,
                       level.sigma);
    }
    if (!std::isfinite(level.time)) {
      fail<ValueError>("{}: the time of a level must be finite; got {}", sampler, level.time);
    }
  }
  // Down to the image or, as encoders walk, up from it: never both, never twice the same.
  const bool up = levels[0].noise_to_signal() < levels[1].noise_to_signal();
  for (std::size_t i = 1; i < levels.size(); ++i) {
    const double before = levels[i - 1].noise_to_signal(), here = levels[i].noise_to_signal();
    if (!(up ? before < here : before > here)) {
      fail<ValueError>(
          "{}: levels must go from noise to image in one direction; got sigma / alpha {} after {}",
          sampler, here, before);
    }
  }
  return {levels.begin(), levels.end()};
}

// Whether the noisy levels have times that are different whole numbers.
bool are_timesteps(const std::vector<Level>& levels) {
  std::vector<double> times;
  for (const Level& level : levels) {
    if (!level.is_clean()) times.push_back(level.time);
  }
  std::sort(times.begin(), times.end());
  return times.front() >= 0.0 && std::adjacent_find(times.begin(), times.end()) == times.end() &&
         std::all_of(times.begin(), times.end(), [](double t) { return t == std::floor(t); });
}

}  // namespace

SamplingLoop::SamplingLoop(const char* sampler, const Denoiser& model, const Tensor& x_T,
                           std::span<const Level> levels, Rng rng, SamplingOptions options)
    : model_(model),
      path_(checked(sampler, levels)),
      rng_(std::move(rng)),
      options_(std::move(options)),
      at_timesteps_(are_timesteps(path_)) {
  expect_floating(sampler, "x_T", x_T);
  x_ = x_T.clone();
  from_ = level([](const SamplingStep& s) { return s.from; });
  noise_step_ = Tensor::zeros({1}, DType::i64, x_.device());
  rng_.bind(noise_step_);
}

Tensor SamplingLoop::number(std::function<double(const SamplingStep&)> f) {
  filled_.emplace_back(Tensor::scalar(0.0, x_.dtype(), x_.device()), std::move(f));
  return filled_.back().first;
}

Levels SamplingLoop::level(const std::function<Level(const SamplingStep&)>& f) {
  filled_.emplace_back(Tensor::zeros({x_.size(0)}, x_.dtype(), x_.device()),
                       [f](const SamplingStep& s) { return f(s).time; });
  const Tensor time = filled_.back().first;
  return {time, number([f](const SamplingStep& s) { return f(s).alpha; }),
          number([f](const SamplingStep& s) { return f(s).sigma; })};
}

Denoised SamplingLoop::denoise(const Tensor& x, const Levels& levels) {
  Denoised denoised = model_(x, levels);
  if (!x0_.defined()) x0_ = denoised.x0;
  return denoised;
}

Tensor SamplingLoop::noise() { return randn(rng_, x_.shape(), x_.dtype(), x_.device()); }

// What a step reads lies on x's device and is filled before it, so that every step is the same.
void SamplingLoop::prepare(const SamplingStep& step) {
  for (auto& [tensor, f] : filled_) tensor.fill(f(step));
  const auto steps = static_cast<double>(path_.size() - 1);
  noise_step_.fill(at_timesteps_ ? step.from.time + 1.0 : steps - static_cast<double>(step.index));
  rng_.seek(0, rng_.first_sample());  // draw 0 of that step
}

Tensor SamplingLoop::run(const Update& update, const Update& last) {
  const auto take = [this](const Update& how) {
    x0_ = {};
    next_ = how(x_);
  };
  CudaGraph recorded(
      x_.device(), [&] { take(update); }, options_.graph);
  const std::size_t steps = path_.size() - 1;
  for (std::size_t i = 0; i < steps; ++i) {
    const SamplingStep step{path_[i], path_[i + 1], std::span(path_).first(i),
                            static_cast<std::int64_t>(i)};
    prepare(step);
    if (last && i + 1 == steps) {
      take(last);
    } else {
      recorded.run();
    }
    if (options_.observer) {
      options_.observer(
          {step.index + 1, static_cast<std::int64_t>(steps), step.from, step.to, x_, x0_, next_});
    }
    x_.assign(next_);
  }
  return x_;
}

}  // namespace ito
