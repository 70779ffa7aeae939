// The integer type of sizes and offsets in kernels.
#pragma once

#include <cstdint>

namespace ito::kernel {

using Index = std::int64_t;

}  // namespace ito::kernel
