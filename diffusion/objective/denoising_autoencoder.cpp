#include "diffusion/objective/denoising_autoencoder.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/loss.h"
#include "tensor/check.h"

namespace ito {

Tensor DenoisingAutoencoder::loss(const Reconstruction& r, const Tensor& x0,
                                  const Tensor& eps) const {
  expect_shape("denoising_autoencoder", "eps", eps, x0.shape());
  return mse(r(x0 + sigma * eps), x0);
}

Tensor DenoisingAutoencoder::score(const Reconstruction& r, const Tensor& x) const {
  return (r(x) - x) / (sigma * sigma);
}

}  // namespace ito
