#include "nn/init.h"

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "tensor/error.h"

namespace ito::nn::init {
namespace {

// Mean of the inputs and outputs of one unit.
double fan_avg(const Shape& shape) {
  if (shape.rank() != 2 && shape.rank() != 4) {
    fail<ShapeError>("variance_scaling: a weight is [out, in] or [O, kh, kw, I]; got {}",
                     shape.str());
  }
  const double taps = shape.rank() == 4 ? static_cast<double>(shape[1] * shape[2]) : 1.0;
  return taps * static_cast<double>(shape[0] + shape[-1]) / 2.0;
}

}  // namespace

Tensor variance_scaling(Rng& rng, const Shape& shape, double scale) {
  if (!std::isfinite(scale) || scale < 0.0) {
    fail<ValueError>("variance_scaling: scale must be finite and >= 0; got {}", scale);
  }
  const double limit = std::sqrt(3.0 * scale / std::max(1.0, fan_avg(shape)));
  const Tensor u = rand(rng, shape);
  return parameter(scale == 0.0 ? Tensor::zeros(shape) : affine(u, 2.0 * limit, -limit));
}

Tensor normal(Rng& rng, const Shape& shape, double stddev) {
  if (!std::isfinite(stddev) || stddev < 0.0) {
    fail<ValueError>("normal: stddev must be finite and >= 0; got {}", stddev);
  }
  return parameter(affine(randn(rng, shape), stddev, 0.0));
}

Tensor zeros(const Shape& shape) { return parameter(Tensor::zeros(shape)); }
Tensor ones(const Shape& shape) { return parameter(Tensor::full(shape, 1.0)); }

}  // namespace ito::nn::init
