#include "diffusion/limit_x0.h"

#include "autograd/ops/elementwise.h"

namespace ito {

Tensor clip_x0(const Tensor& x0) { return clamp(x0, -1.0, 1.0); }

}  // namespace ito
