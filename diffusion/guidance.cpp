#include "diffusion/guidance.h"

#include <utility>

namespace ito {

Denoiser conditional(LabelledDenoiser model, Tensor labels) {
  return [model = std::move(model), labels = std::move(labels)](
             const Tensor& x_t, const Tensor& t) { return model(x_t, t, labels); };
}

}  // namespace ito
