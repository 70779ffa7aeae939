#include "nn/finite.h"

#include <fmt/format.h>

#include "tensor/kernels/optimizer.h"
#include "tensor/launch.h"

namespace ito::nn {

std::string NonFinite::str() const {
  return fmt::format("{} {}: element {} is {}", name, tensor, index, value);
}

std::optional<NonFinite> find_non_finite(const std::vector<NamedTensor>& tensors) {
  for (const auto& [name, t] : tensors) {
    if (!is_floating(t.dtype())) continue;
    Tensor index = Tensor::empty({}, DType::i64, t.device());
    launch<kernel::FirstNonFinite>(
        t.device(), {t.raw(), index.mutable_data<std::int64_t>(), t.numel(), t.dtype()});
    const auto i = static_cast<std::int64_t>(index.item());
    if (i >= 0) return NonFinite{name, i, t.view({}, i).item(), t.str()};
  }
  return std::nullopt;
}

}  // namespace ito::nn
