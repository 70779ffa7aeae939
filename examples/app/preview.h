// Grids of samples that a training run shows on its way.
#pragma once

#include <cstdint>
#include <string>

#include "diffusion/denoiser/condition.h"
#include "diffusion/models/model_file.h"
#include "nn/ema.h"
#include "tensor/tensor.h"

namespace ito::app {

struct PreviewOptions {
  std::int64_t count = 16;  ///< images per half
  std::int64_t steps = 50;  ///< of DDIM
  double eta = 1.0;         ///< of DDIM
  std::uint64_t seed = 0;   ///< of the noise: the same for every grid of a run
  bool graph = true;        ///< record a step and replay it, on CUDA
  /// Classes that the network knows. Then there is a column for each (for the first 16 at most),
  /// and `count` is rounded up to whole rows.
  std::int64_t num_classes = 0;
};

/// A grid as u8 [H, W, C]: `count` samples with the averaged weights above the same number with the
/// weights as they are, both from the same noise, so that grids of a run can be compared. `shape`
/// is that of one image, [H, W, C]. Throws PreviewStopped when a signal asks the program to stop.
Tensor preview_grid(const ModelCard& card, const ConditionalNetwork& network, const nn::Ema& ema,
                    const Shape& shape, Device device, const PreviewOptions& options);
struct PreviewStopped {};

/// One image [H, W, C] (u8) at ten timesteps from 0 to T - 1, side by side, as u8 [H, W, C].
Tensor noising_strip(const NoiseSchedule& schedule, const Tensor& image, std::uint64_t seed);

}  // namespace ito::app
