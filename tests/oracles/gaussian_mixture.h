// Data from a mixture of normal distributions: everything about diffusion is known exactly.
//
//   const GaussianMixture data{{.8, .2}, {{-5, 0}, {5, 0}}, {{.25, .25}, {1, 4}}};
//   const Denoiser model = exact_denoiser(process, data);        // stands in for a trained network
//   const Tensor log_p = data.log_density(x_t, alpha, sigma);    // of x_t = alpha x_0 + sigma eps
//
// Component k is N(mean_k, diag(variance_k)), in d dimensions; one component is a Gaussian. Points
// are f64 [N, d]; images work through flatten(). x_t is again a mixture, with the same weights,
// means alpha m_k and variances alpha^2 v_k + sigma^2; the posterior of x_0 given x_t is a mixture
// too, with weights r_k(x_t) (the responsibilities). From these two facts follows all of this file.
#pragma once

#include <cmath>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/softmax.h"
#include "tests/oracles/chain.h"

namespace ito::oracle {

struct GaussianMixture {
  std::vector<double> weights;                 ///< [K], sum to 1
  std::vector<std::vector<double>> means;      ///< [K][d]
  std::vector<std::vector<double>> variances;  ///< [K][d], diagonal; >= 0

  std::int64_t components() const { return static_cast<std::int64_t>(weights.size()); }
  std::int64_t dimensions() const { return static_cast<std::int64_t>(means.at(0).size()); }

  /// N(mean, variance I) in d dimensions.
  static GaussianMixture gaussian(double mean, double variance, std::int64_t d = 1);
  /// Component k alone: what a class-conditional model is asked for when k is a class.
  GaussianMixture component(std::size_t k) const;

  std::vector<double> mean() const;           ///< E[x_0], [d]
  std::vector<double> second_moment() const;  ///< E[x_0^2] per dimension, [d]

  // Of one component alone, in nats, for all dimensions together.

  /// The differential entropy of x_t = alpha x_0 + sigma eps.
  double entropy(double alpha = 1.0, double sigma = 0.0) const;
  /// KL(q(x_t) || N(0, I)).
  double divergence_from_noise(double alpha, double sigma) const;

  /// x_0 [n, d].
  Tensor draw(Rng& rng, std::int64_t n) const;

  // All below: x_t [N, d] f64; level's alpha and sigma broadcast to [N, 1].

  /// log q(x_t), [N, 1], in nats.
  Tensor log_density(const Tensor& x_t, const Levels& level) const;
  /// p(component | x_t), [N, K]: a perfect classifier of noisy data.
  Tensor responsibilities(const Tensor& x_t, const Levels& level) const;
  /// E[x_0 | x_t], [N, d].
  Tensor x0(const Tensor& x_t, const Levels& level) const;
  /// The score, gradient of log q(x_t) with respect to x_t, [N, d].
  Tensor score(const Tensor& x_t, const Levels& level) const;
  /// E[eps | x_t] = -sigma score.
  Tensor epsilon(const Tensor& x_t, const Levels& level) const;
  /// E[v | x_t] = alpha eps - sigma x_0.
  Tensor v(const Tensor& x_t, const Levels& level) const;

  /// Variance of each element of x_0 given x_t, [N, d].
  Tensor x0_variance(const Tensor& x_t, const Levels& level) const;
  /// log q(x_0 | x_t), [N, 1]. With variances of 0 there is no density: use positive ones.
  Tensor posterior_log_density(const Tensor& x0, const Tensor& x_t, const Levels& level) const;
  /// A draw of x_0 for each x_t, [N, d].
  Tensor draw_posterior(Rng& rng, const Tensor& x_t, const Levels& level) const;
  /// log q(x_s | x_t), the true reverse step from the noisier `to_t` to `to_s`, [N, 1]: no normal
  /// distribution, unless the data are.
  Tensor reverse_log_density(const Tensor& x_s, const Levels& to_s, const Tensor& x_t,
                             const Levels& to_t) const;

 private:
  Tensor row(const std::vector<double>& values) const;  ///< [1, d]
  /// log of weight_k N(x_t; alpha m_k, alpha^2 v_k + sigma^2), for each k a column: [N, K].
  Tensor log_joint(const Tensor& x_t, const Levels& level) const;
  /// Mean and variance of x_0 given x_t and component k, [N, d] and [1, d] or [N, d].
  Tensor mean_given(std::size_t k, const Tensor& x_t, const Levels& level) const;
  Tensor variance_given(std::size_t k, const Levels& level) const;
  /// The sum over k of responsibility k times of_each(k).
  template <class F>
  Tensor expected(const Tensor& x_t, const Levels& level, const F& of_each) const;
};

/// The best network for this data, by way of what `process.prediction` asks for, at any level.
Denoiser exact_denoiser(const test::Chain& process, const GaussianMixture& data);

}  // namespace ito::oracle
