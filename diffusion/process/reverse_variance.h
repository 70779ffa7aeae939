// The variance of a reverse step p(x_s | x_t) from a level t to a less noisy level s, which the
// papers choose in several ways. All keep the mean of the step: that of q(x_s | x_t, x_0) at the
// network's estimate of x_0.
//
//   const Level t = schedule.level(999), s = schedule.level(998);
//   const PosteriorStep q = posterior_step(t, s);
//   const double sigma2 = reverse_variance(t, s, ReverseVariance::beta);
//
// Neighbours in a schedule are a step of the whole chain; levels further apart are a step of the
// chain over some of the timesteps (respacing). Throws ValueError when s is noisier than t.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/process/level.h"
#include "tensor/enum_names.h"
#include "tensor/tensor.h"

namespace ito {

/// beta          "fixedlarge", exact for data of unit variance (Ho et al. 2020, section 3.2)
/// beta_tilde    "fixedsmall", exact for a single point
/// learned       between the two, as the network says (Nichol & Dhariwal 2021, eq. 15)
/// analytic      the best one that is the same for all elements (Bao et al. 2022)
enum class ReverseVariance { beta, beta_tilde, learned, analytic };
constexpr EnumNames<ReverseVariance, 4> enum_names(ReverseVariance) {
  return {"variance",
          {{ReverseVariance::beta, "beta"},
           {ReverseVariance::beta_tilde, "beta-tilde"},
           {ReverseVariance::learned, "learned"},
           {ReverseVariance::analytic, "analytic"}}};
}

/// q(x_s | x_t, x_0) = N(weight_x0 x_0 + weight_x_t x_t, variance I) (Ho et al. 2020, eq. 6 and 7,
/// with the steps between s and t taken as one).
struct PosteriorStep {
  double weight_x0;
  double weight_x_t;
  double variance;  ///< beta_tilde; 0 where s is clean
};
PosteriorStep posterior_step(const Level& t, const Level& s);

/// sigma^2 of p(x_s | x_t) for a variance that is one number per step. `mean_squared_eps` is needed
/// for `analytic` only: E[eps_hat^2] at t per element (analytic_variance.h estimates it). Throws
/// ValueError for `learned`, which differs from element to element: see learned_log_variance.
double reverse_variance(const Level& t, const Level& s, ReverseVariance variance,
                        double mean_squared_eps = 1.0);

/// The mean variance of x_0 given x_t, per element, of a network whose eps_hat has the mean square
/// `mean_squared_eps`: sigma^2 / alpha^2 (1 - mean_squared_eps). Kept in [0, 1], where it lies for
/// data in [-1, 1] (Bao et al. 2022, arXiv 2201.06503, theorem 2).
double variance_of_x0(const Level& t, double mean_squared_eps);

/// The best variance of a step of the family of DDIM whose own noise has the variance `lambda2`:
/// lambda2 + w^2 variance_of_x0, where w is the factor of x_0 in the step's mean (Bao et al. 2022,
/// eq. 8). lambda2 = beta_tilde is `analytic` above; 0 is DDIM. Throws ValueError unless
/// 0 <= lambda2 <= sigma_s^2.
double analytic_variance(const Level& t, const Level& s, double lambda2, double mean_squared_eps);

/// log sigma^2 of a network with a learned variance: between log beta_tilde where `output` is -1
/// and log beta where it is 1, and beyond (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15).
/// `output` is Denoised::variance (denoiser/parametrization.h); the other two broadcast against it.
/// Differentiated.
Tensor learned_log_variance(const Tensor& output, const Tensor& log_beta,
                            const Tensor& log_beta_tilde);

}  // namespace ito
