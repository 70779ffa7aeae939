// What every sampler shares: the walk over timesteps, numbers that change from step to step, fresh
// noise, the recorded step, the observer. A sampler is then its formula; deterministic DDIM is
//
//   SamplingLoop loop("my_ddim", process, model, x_T, {999, 749, 499, 249, -1}, rng);
//   const Tensor alpha_s = loop.number([&](auto& at) { return schedule.sqrt_alpha_bar(at.s); });
//   const Tensor sigma_s =
//       loop.number([&](auto& at) { return schedule.sqrt_one_minus_alpha_bar(at.s); });
//   return loop.run([&](const Tensor& x_t) {
//     const Denoised d = loop.denoise(x_t);
//     return alpha_s * d.x0 + sigma_s * d.eps;
//   });
//
// The step is a Graph (tensor/graph.h): recorded once and replayed on CUDA. So whatever differs
// between steps must come from number(), timestep() or noise(), which lie in device memory and are
// filled before each step; a C++ `if` on them would be frozen.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "autograd/engine.h"
#include "autograd/kept_weights.h"
#include "diffusion/denoiser/gaussian_diffusion.h"
#include "tensor/rng.h"

namespace ito {

/// What an observer sees after each step. The tensors are handles, which the next step may
/// overwrite: copy their elements to keep them.
struct SampleStep {
  std::int64_t step;     ///< 1 .. steps
  std::int64_t steps;    ///< how many there will be
  std::int64_t t;        ///< the timestep where the step starts, falling from T - 1 to 0
  const Tensor& x_t;     ///< the images before the step
  const Tensor& x0;      ///< the network's estimate of the clean images, clipped if so asked
  const Tensor& x_next;  ///< the images after the step; the result when step == steps
};
using Observer = std::function<void(const SampleStep&)>;

/// Where a step is on the walk.
struct StepTimes {
  std::int64_t t;                        ///< it starts here
  std::int64_t s;                        ///< and ends here; -1: at the clean images
  std::span<const std::int64_t> before;  ///< where the steps before it started, the latest last
};

/// How a loop runs; the samplers' options have the same fields.
struct LoopOptions {
  X0Limit limit_x0 = {};
  Observer observer = {};
  bool graph = true;
};

class SamplingLoop {
 public:
  /// A walk from x_T [N, ...] (f32 or f64) over `path`, which names every timestep from the first
  /// to the last, -1 being the clean images. `sampler` names the caller in errors. The loop keeps
  /// references to `process` and `model`. Throws DTypeError, ShapeError for x_T.
  SamplingLoop(const char* sampler, const GaussianDiffusion& process, const Denoiser& model,
               const Tensor& x_T, std::vector<std::int64_t> path, Rng rng,
               LoopOptions options = {});

  /// f of each step: a scalar in x's dtype, rounded from double precision.
  Tensor number(std::function<double(const StepTimes&)> f);
  /// The timestep f of each step, for every sample: i64 [N].
  Tensor timestep(std::function<std::int64_t(const StepTimes&)> f);

  // For use inside a step:

  /// What the network says of x at the timestep where the step starts (0 for the clean images,
  /// which have no timestep of their own). The observer sees the x0 of a step's first call.
  Denoised denoise(const Tensor& x) { return denoise(x, t_); }
  /// The same at another timestep, made by timestep().
  Denoised denoise(const Tensor& x, const Tensor& t);
  /// Normal noise in the shape of x: the draws of step t + 1 of the generator, t being where the
  /// step starts.
  Tensor noise();

  /// What takes x_t to x_s.
  using Step = std::function<Tensor(const Tensor& x_t)>;
  /// Takes every step and returns the images at the end. Where given, `last` takes the last step in
  /// the place of `step`, and is not recorded.
  Tensor run(const Step& step, const Step& last = {});

 private:
  void prepare(const StepTimes& at);

  const GaussianDiffusion& process_;
  const Denoiser& model_;
  const std::vector<std::int64_t> path_;
  Rng rng_;
  const LoopOptions options_;
  const NoGrad no_grad_;
  const KeepWeights keep_weights_;
  Tensor x_, x0_, next_;
  Tensor t_, noise_step_;
  std::vector<std::pair<Tensor, std::function<double(const StepTimes&)>>> filled_;
};

/// t for every sample of the batch x: i64 [N] on its device.
Tensor same_timestep(std::int64_t t, const Tensor& x);

/// The timesteps `visited` (rising) as the path of a sampler: falling, and then the clean images.
std::vector<std::int64_t> falling_to_x0(std::vector<std::int64_t> visited);

}  // namespace ito
