#include "diffusion/objective/hybrid_loss.h"

#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"

namespace ito {

Tensor bound_losses(const VariationalBound& bound, const Denoised& denoised, const Tensor& x_t,
                    const Tensor& x0, const Tensor& t, const Tensor& eps) {
  const auto T = static_cast<double>(bound.schedule().timesteps());
  return T / std::numbers::ln2 * bound.terms_of(denoised, x_t, x0, t, eps).nats;
}

Tensor variance_losses(const VariationalBound& bound, const Denoised& denoised, const Tensor& x_t,
                       const Tensor& x0, const Tensor& t, const Tensor& eps) {
  const Denoised held{detach(denoised.x0), detach(denoised.eps), denoised.variance};
  return 0.001 * bound_losses(bound, held, x_t, x0, t, eps);
}

}  // namespace ito
