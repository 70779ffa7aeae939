// The one place that asks where data lives.
//
// A kernel is a struct: a name, plain-data `Args` (pointers, sizes, dtype), a function `cpu` and,
// when it has them, functions `cuda` and `cost` (kernels/cost.h):
//
//   struct Fill {
//     static constexpr const char* name = "fill";
//     struct Args { void* y; std::int64_t n; double value; DType dtype; };
//     static void cpu(const Args&);    // tensor/kernels/fill.cpp
//     static void cuda(const Args&);   // cuda/fill.cu
//   };
//   launch<Fill>(y.device(), {y.mutable_raw(), y.numel(), 0.0, y.dtype()});
//
// A CPU-only build never names `Kernel::cuda`, so it needs no stubs. In a CUDA build a declared but
// undefined `cuda` is a link error that names the kernel. There is no registry.
#pragma once

#include "tensor/build.h"
#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/profile.h"

namespace ito {

namespace detail {

template <class Kernel>
void start(Device device, const typename Kernel::Args& args) {
  if (device.is_cpu()) return Kernel::cpu(args);
  if constexpr (build::cuda && requires { Kernel::cuda(args); }) {
    return Kernel::cuda(args);
  } else {
    fail<DeviceError>("{}: not available on {} in this build", Kernel::name, device.str());
  }
}

template <class Kernel>
void start_profiled(Device device, const typename Kernel::Args& args) {
  kernel::Cost cost;
  if constexpr (requires { Kernel::cost(args); }) cost = Kernel::cost(args);
  const profile::KernelSpan span(Kernel::name, cost, device);
  start<Kernel>(device, args);
}

}  // namespace detail

template <class Kernel>
void launch(Device device, const typename Kernel::Args& args) {
  if (profile::enabled()) [[unlikely]]
    return detail::start_profiled<Kernel>(device, args);
  detail::start<Kernel>(device, args);
}

}  // namespace ito
