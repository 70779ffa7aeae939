// What every sampler shares: the walk over noise levels, numbers that change from step to step,
// fresh noise, the recorded step, the observer. A sampler is then its formula; deterministic DDIM
// is
//
//   Tensor my_ddim(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
//                  Rng rng) {
//     SamplingLoop loop("my_ddim", model, x_T, levels, rng);
//     const Tensor alpha = loop.number([](const SamplingStep& s) { return s.to.alpha; });
//     const Tensor sigma = loop.number([](const SamplingStep& s) { return s.to.sigma; });
//     return loop.run([&](const Tensor& x) {
//       const Denoised d = loop.denoise(x);
//       return alpha * d.x0 + sigma * d.eps;
//     });
//   }
//
// The step is a CudaGraph (tensor/cuda_graph.h): recorded once and replayed on CUDA. So whatever
// differs between steps must come from number(), level() or noise(), which lie in device memory and
// are filled before each step; a C++ `if` on them would be frozen.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "autograd/engine.h"
#include "autograd/packed_weights.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/process/level.h"
#include "tensor/rng.h"

namespace ito {

/// What an observer sees after each step. The tensors are handles, which the next step may
/// overwrite: copy their elements to keep them.
struct SampleStep {
  std::int64_t step;     ///< 1 .. steps
  std::int64_t steps;    ///< how many there will be
  Level from, to;        ///< where the step starts and ends
  const Tensor& x_t;     ///< the images before the step
  const Tensor& x0;      ///< the denoiser's estimate of the clean images
  const Tensor& x_next;  ///< the images after the step; the result when step == steps
};
using Observer = std::function<void(const SampleStep&)>;

struct SamplingOptions {
  Observer observer = {};
  bool graph = true;  ///< record a step once and replay it, on CUDA
};

/// One step of a walk.
struct SamplingStep {
  Level from, to;
  std::span<const Level> before;  ///< where the steps before it started, the latest last
  std::int64_t index;             ///< 0 .. steps - 1
};

class SamplingLoop {
 public:
  /// A walk from x_T [N, ...] (f32 or f64) at levels.front() to the image at levels.back().
  /// `sampler` names the caller in errors. The loop keeps a reference to `model`. Throws DTypeError
  /// for x_T; ValueError for fewer than two levels, or one that is not finite.
  SamplingLoop(const char* sampler, const Denoiser& model, const Tensor& x_T,
               std::span<const Level> levels, Rng rng, SamplingOptions options = {});

  /// f of each step: a scalar in x's dtype, rounded from double precision.
  Tensor number(std::function<double(const SamplingStep&)> f);
  /// The level f of each step, for every sample.
  Levels level(const std::function<Level(const SamplingStep&)>& f);

  // For use inside a step:

  /// The estimates for x at the level where the step starts. The observer sees the x0 of a step's
  /// first call.
  Denoised denoise(const Tensor& x) { return denoise(x, from_); }
  /// The same at another level, made by level().
  Denoised denoise(const Tensor& x, const Levels& levels);
  /// Normal noise in the shape of x. Where all levels but a clean one are timesteps of a schedule,
  /// it is draw 0 of step t + 1 of the generator, t being where the step starts, so that a shorter
  /// chain sees the noise of the same timesteps; else of the number of steps that are left.
  Tensor noise();

  /// What takes x from one level to the next.
  using Update = std::function<Tensor(const Tensor& x)>;
  /// Takes every step and returns the images at the end. Where given, `last` takes the last step in
  /// the place of `update`, and is not recorded.
  Tensor run(const Update& update, const Update& last = {});

 private:
  void prepare(const SamplingStep& step);

  const Denoiser& model_;
  const std::vector<Level> path_;
  Rng rng_;
  const SamplingOptions options_;
  const NoGrad no_grad_;
  const KeepPackedWeights keep_weights_;
  bool at_timesteps_ = true;
  Tensor x_, x0_, next_;
  Levels from_;
  Tensor noise_step_;
  std::vector<std::pair<Tensor, std::function<double(const SamplingStep&)>>> filled_;
};

}  // namespace ito
