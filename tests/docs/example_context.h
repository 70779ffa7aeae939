// The names that the examples in the comments of public headers use without declaring them. Nothing
// here is defined: examples are compiled, not run.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ito.h"

namespace ito_examples {

using namespace ito;

// Tensors: clean and noisy images, noise, timesteps, labels.
extern Tensor x, x0, x_t, x_T, eps, t, w, labels, images, samples, loss;

// Training and sampling.
extern UNet unet;
extern Rng rng;
extern std::uint64_t seed;
extern std::int64_t step, steps, batch;
extern double lr;
extern Device device;
extern NoiseSchedule schedule;
extern Level level;
extern Levels levels;
extern Parametrization parametrization;
extern Network network;
extern Denoiser model;

}  // namespace ito_examples
