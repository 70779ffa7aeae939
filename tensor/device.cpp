#include "tensor/device.h"

#include <fmt/format.h>

#include "tensor/build.h"
#include "tensor/kernels/device_runtime.h"

namespace ito {

std::string Device::str() const { return is_cpu() ? "cpu" : fmt::format("cuda:{}", index_); }

std::string why_unavailable(Device device) {
  if (device.is_cpu()) return {};
  if constexpr (build::cuda) {
    return cuda::why_unavailable(device.index());
  } else {
    return fmt::format("{}: this build has no CUDA backend (configured with ITO_CUDA=OFF)",
                       device.str());
  }
}

bool available(Device device) { return why_unavailable(device).empty(); }

}  // namespace ito
