// Chain: a schedule and what a network predicts, as most tests of diffusion/ need them together.
//
//   const Chain process{NoiseSchedule::linear(), Prediction::v};
//   const Tensor x0 = sample_ddim(process.denoiser(network), x_T, process.walk(50), rng);
#pragma once

#include <cstdint>
#include <vector>

#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/sampling/spacing.h"

namespace ito::test {

struct Chain {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  double sigma_data = 0.5;

  Parametrization parametrization() const {
    return {.prediction = prediction, .sigma_data = sigma_data};
  }

  /// Of timesteps as integers or, as networks are given them, as real numbers.
  Levels levels(const Tensor& t, const Tensor& x) const {
    return schedule.levels(is_floating(t.dtype()) ? cast(t, DType::i64) : t, x);
  }

  Tensor add_noise(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
    return ito::add_noise(x0, eps, levels(t, x0));
  }

  Tensor target(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
    return parametrization().target(x0, eps, levels(t, x0));
  }

  Tensor losses_of(const Tensor& output, const Tensor& x0, const Tensor& t,
                   const Tensor& eps) const {
    return parametrization().losses(output, x0, eps, levels(t, x0));
  }
  Tensor losses(const Network& network, const Tensor& x0, const Tensor& t,
                const Tensor& eps) const {
    const Levels at = levels(t, x0);
    return losses_of(parametrization().call(network, ito::add_noise(x0, eps, at), at), x0, t, eps);
  }
  Tensor losses(const Denoiser& model, const Tensor& x0, const Tensor& t, const Tensor& eps) const {
    const Levels at = levels(t, x0);
    const Denoised d = model(ito::add_noise(x0, eps, at), at);
    return losses_of(parametrization().target(d.x0, d.eps, at), x0, t, eps);
  }
  template <class Model>  // a network or a denoiser
  Tensor loss(const Model& network, const Tensor& x0, const Tensor& t, const Tensor& eps) const {
    return mean(losses(network, x0, t, eps));
  }

  Denoiser denoiser(Network network) const { return parametrization().denoiser(network); }
  Denoiser denoiser(Denoiser model) const { return model; }

  Denoised denoise(const Denoiser& model, const Tensor& x_t, const Tensor& t) const {
    return model(x_t, levels(t, x_t));
  }
  Denoised denoise(const Network& network, const Tensor& x_t, const Tensor& t) const {
    return denoise(denoiser(network), x_t, t);
  }

  /// What a network with these estimates would put out.
  Tensor output(const Denoiser& model, const Tensor& x_t, const Tensor& t) const {
    const Denoised d = denoise(model, x_t, t);
    return parametrization().target(d.x0, d.eps, levels(t, x_t));
  }

  /// The levels of a sampler; all timesteps for 0 steps.
  std::vector<Level> walk(std::int64_t steps = 0, Spacing spacing = Spacing::even) const {
    return sampling_levels(schedule, steps == 0 ? schedule.timesteps() : steps, spacing);
  }
};

}  // namespace ito::test
