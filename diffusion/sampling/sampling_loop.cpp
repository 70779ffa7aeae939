#include "diffusion/sampling/sampling_loop.h"

#include <algorithm>

#include "tensor/check.h"
#include "tensor/graph.h"

namespace ito {

Tensor same_timestep(std::int64_t t, const Tensor& x) {
  return Tensor::full({x.size(0)}, static_cast<double>(t), DType::i64, x.device());
}

std::vector<std::int64_t> falling_to_x0(std::vector<std::int64_t> visited) {
  std::reverse(visited.begin(), visited.end());
  visited.push_back(-1);
  return visited;
}

SamplingLoop::SamplingLoop(const char* sampler, const GaussianDiffusion& process,
                           const Denoiser& model, const Tensor& x_T, std::vector<std::int64_t> path,
                           Rng rng, LoopOptions options)
    : process_(process),
      model_(model),
      path_(std::move(path)),
      rng_(std::move(rng)),
      options_(std::move(options)) {
  expect_floating(sampler, "x_T", x_T);
  x_ = x_T.clone();
  t_ = timestep([](const StepTimes& at) { return std::max<std::int64_t>(at.t, 0); });
  noise_step_ = Tensor::zeros({1}, DType::i64, x_.device());
  rng_.bind(noise_step_);
}

Tensor SamplingLoop::number(std::function<double(const StepTimes&)> f) {
  filled_.emplace_back(Tensor::scalar(0.0, x_.dtype(), x_.device()), std::move(f));
  return filled_.back().first;
}

Tensor SamplingLoop::timestep(std::function<std::int64_t(const StepTimes&)> f) {
  const auto as_double = [f = std::move(f)](const StepTimes& at) {
    return static_cast<double>(f(at));
  };
  filled_.emplace_back(same_timestep(0, x_), as_double);
  return filled_.back().first;
}

Denoised SamplingLoop::denoise(const Tensor& x, const Tensor& t) {
  const Denoised denoised = process_.denoise(model_, x, t, options_.limit_x0);
  if (!x0_.defined()) x0_ = denoised.x0;
  return denoised;
}

Tensor SamplingLoop::noise() { return randn(rng_, x_.shape(), x_.dtype(), x_.device()); }

// What a step reads lies on x's device and is filled before it, so that every step is the same.
void SamplingLoop::prepare(const StepTimes& at) {
  for (auto& [tensor, f] : filled_) tensor.fill(f(at));
  noise_step_.fill(static_cast<double>(at.t + 1));
  rng_.seek(0, rng_.first_sample());  // draw 0 of that step
}

Tensor SamplingLoop::run(const Step& step, const Step& last) {
  const auto take = [this](const Step& how) {
    x0_ = {};
    next_ = how(x_);
  };
  Graph recorded(
      x_.device(), [&] { take(step); }, options_.graph);
  const std::size_t steps = path_.size() - 1;
  for (std::size_t i = 0; i < steps; ++i) {
    const StepTimes at{path_[i], path_[i + 1], std::span(path_).first(i)};
    prepare(at);
    if (last && i + 1 == steps) {
      take(last);
    } else {
      recorded.run();
    }
    if (options_.observer) {
      options_.observer({static_cast<std::int64_t>(i) + 1, static_cast<std::int64_t>(steps), at.t,
                         x_, x0_, next_});
    }
    x_.assign(next_);
  }
  return x_;
}

}  // namespace ito
