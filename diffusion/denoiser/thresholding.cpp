#include "diffusion/denoiser/thresholding.h"

#include <utility>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/quantile.h"
#include "tensor/error.h"

namespace ito {

Denoiser thresholded(Denoiser model, Thresholding thresholding) {
  if (!thresholding) return model;
  return [model = std::move(model), limit = std::move(thresholding)](const Tensor& x,
                                                                     const Levels& levels) {
    Denoised denoised = model(x, levels);
    denoised.x0 = limit(denoised.x0);
    denoised.eps = epsilon_from_x0(denoised.x0, x, levels);
    return denoised;
  };
}

Tensor clip_x0(const Tensor& x0) { return clamp(x0, -1.0, 1.0); }

Thresholding dynamic_threshold(double quantile, double max_s) {
  if (!(quantile >= 0.0 && quantile <= 1.0) || !(max_s >= 1.0)) {
    fail<ValueError>(
        "dynamic_threshold: quantile must be in [0, 1] and max_s at least 1; got {} and {}",
        quantile, max_s);
  }
  return [=](const Tensor& x0) {
    const std::vector<std::int64_t> one_row_each{x0.size(0), -1};
    const Tensor rows = reshape(x0, one_row_each);
    const Tensor s = reshape(clamp(ito::quantile(abs(rows), quantile), 1.0, max_s), one_row_each);
    return reshape(maximum(-s, minimum(rows, s)) / s, x0.shape());
  };
}

}  // namespace ito
