// What this build of ito contains. Compile-time constants, so that an `if constexpr` on them never
// names a symbol that the build lacks.
//
//   if constexpr (build::cuda) x = x.to(Device::cuda());
#pragma once

#ifndef ITO_HAS_CUDA
#define ITO_HAS_CUDA 0
#endif

#ifndef ITO_EMULATED_DEVICE
#define ITO_EMULATED_DEVICE 0
#endif

namespace ito::build {
inline constexpr bool cuda = ITO_HAS_CUDA != 0;  ///< the CUDA halves of the kernels are linked in
inline constexpr bool emulated = ITO_EMULATED_DEVICE != 0;  ///< ... for the emulated device
}  // namespace ito::build

// The only macro for kernels: marks a function that both halves of a kernel share.
#if defined(__CUDACC__)
#define ITO_HOST_DEVICE __host__ __device__
#else
#define ITO_HOST_DEVICE
#endif
