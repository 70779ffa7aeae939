#include "diffusion/objective/hybrid_loss.h"

#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"

namespace ito {

Tensor bound_losses(const VariationalBound& bound, const Tensor& output, const Tensor& x_t,
                    const Tensor& x0, const Tensor& t, const Tensor& eps) {
  const auto T = static_cast<double>(bound.process().schedule.timesteps());
  return T / std::numbers::ln2 * bound.terms_of(output, x_t, x0, t, eps).nats;
}

Tensor variance_losses(const VariationalBound& bound, const Tensor& output, const Tensor& x_t,
                       const Tensor& x0, const Tensor& t, const Tensor& eps) {
  const auto [prediction, variance] = split_output(output, x_t);
  const Tensor held = variance.defined() ? concat({detach(prediction), variance}) : output;
  return 0.001 * bound_losses(bound, held, x_t, x0, t, eps);
}

}  // namespace ito
