// Takes a sampler's steps apart. On Gaussian data, with the exact denoiser, each step is
// x_s = m x_t + sqrt(v) z; m, v and z can be read off a run without Monte-Carlo error.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "diffusion/sampling/samplers.h"
#include "tests/oracles/gaussian_data.h"

namespace ito::test {

using Sampler = std::function<Tensor(const Chain&, const Denoiser&, const Tensor& x_T, Rng,
                                     std::int64_t steps, const Observer&)>;

inline Sampler ddpm(ReverseVariance variance) {
  return [variance](const auto& process, const auto& model, const Tensor& x_T, Rng rng,
                    std::int64_t steps, const Observer& observer) {
    return sample_ddpm(model, x_T, process.walk(steps), rng,
                       {.variance = variance, .loop = {.observer = observer}});
  };
}

inline Sampler ddim(double eta) {
  return [eta](const auto& process, const auto& model, const Tensor& x_T, Rng rng,
               std::int64_t steps, const Observer& observer) {
    return sample_ddim(model, x_T, process.walk(steps), rng,
                       {.eta = eta, .loop = {.observer = observer}});
  };
}

// What a run did: each step's factor m and variance v, measured, and what they add up to.
struct Probe {
  std::vector<std::int64_t> t;  // falling: where each step started
  std::vector<double> m, v;
  double total_factor = 1.0;    // d x_0 / d x_T
  double final_variance = 1.0;  // of x_0, when x_T ~ N(0, 1)
};

// Two runs with the same z differ by products of m alone; what m does not explain of one run is
// sqrt(v) z, and z is known from the contract of the generator.
inline Probe probe(const Sampler& sampler, const Chain& process, double s2, std::int64_t steps) {
  const Shape shape{1, 1};
  Probe p;
  const auto path_from = [&](double start) {
    std::vector<double> path = {start};
    p.t.clear();
    sampler(process, exact_denoiser(process, s2), Tensor::full(shape, start, DType::f64),
            Rng(11, Purpose::sample), steps, [&](const SampleStep& step) {
              path.push_back(step.x_next.item());
              p.t.push_back(static_cast<std::int64_t>(step.from.time));
            });
    return path;
  };
  const auto low = path_from(0.0), high = path_from(1e5);  // far apart: no digits lost below
  for (std::size_t i = 0; i < p.t.size(); ++i) {
    Rng rng(11, Purpose::sample);
    rng.seek(static_cast<std::uint64_t>(p.t[i]) + 1);
    const double z = randn(rng, shape, DType::f64).item();
    const double m = (high[i + 1] - low[i + 1]) / (high[i] - low[i]);
    const double root_v = (low[i + 1] - m * low[i]) / z;
    p.m.push_back(m);
    p.v.push_back(root_v * root_v);
    p.total_factor *= m;
    p.final_variance = m * m * p.final_variance + p.v.back();
  }
  return p;
}

inline std::vector<NoiseSchedule> both_schedules() {
  return {NoiseSchedule::linear(), NoiseSchedule::cosine()};
}

/// Not linear, and different at every t: a stand-in for a network in tests of equality.
inline Tensor bent_noise(const Tensor& x_t, const Tensor& t) {
  const Tensor phase = reshape(cast(t, x_t.dtype()), Shape{t.size(0), 1});
  return tanh(0.7 * x_t + sin(0.01 * phase));
}

}  // namespace ito::test
