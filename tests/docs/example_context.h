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

// Clean and noisy images, noise, timesteps; what layers have; data.
extern Tensor x, x0, x_t, x_T, eps, t;
extern Tensor y, w, weight, bias;
extern Tensor images, labels, samples;

Tensor product(const Tensor& a, const Tensor& b);  // what a kernel computes, without a history

// Networks, and what trains them.
extern UNet unet;
extern Mlp mlp;
extern Classifier classifier;
extern Rng rng, init;
extern std::uint64_t seed;
extern std::int64_t step, steps, batch;
extern double lr;
extern Device device;
extern nn::FlatParameters flat;
extern nn::Adam adam;
extern nn::Ema ema;

// Diffusion.
extern NoiseSchedule schedule;
extern Levels levels;
extern Parametrization parametrization;
extern Network network;
extern Denoiser model;

}  // namespace ito_examples
