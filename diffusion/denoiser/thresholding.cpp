#include "diffusion/denoiser/thresholding.h"

#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/quantile.h"
#include "tensor/error.h"

namespace ito {

Tensor clip_x0(const Tensor& x0) { return clamp(x0, -1.0, 1.0); }

X0Limit dynamic_threshold(double quantile, double most) {
  if (!(quantile >= 0.0 && quantile <= 1.0) || !(most >= 1.0)) {
    fail<ValueError>(
        "dynamic_threshold: quantile must be in [0, 1] and most at least 1; got {} and {}",
        quantile, most);
  }
  return [=](const Tensor& x0) {
    const std::vector<std::int64_t> one_row_each{x0.size(0), -1};
    const Tensor rows = reshape(x0, one_row_each);
    const Tensor s = reshape(clamp(ito::quantile(abs(rows), quantile), 1.0, most), one_row_each);
    return reshape(maximum(-s, minimum(rows, s)) / s, x0.shape());
  };
}

}  // namespace ito
