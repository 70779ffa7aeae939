// Launching a kernel on the emulated device: the call is kept with a copy of its arguments, as the
// device's driver keeps them.
#pragma once

#include <functional>
#include <tuple>
#include <utility>

namespace ito::emulate {

// A kernel with its arguments; run once per thread.
struct Kernel {
  const void* function;
  std::function<void()> thread;
};
cudaError_t launch(const cudaLaunchConfig_t& config, Kernel kernel);

}  // namespace ito::emulate

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...),
                               A&&... args) {
  static_assert((sizeof(P) + ... + 0) <= 4096, "parameters of a kernel: at most 4 KB");
  return ito::emulate::launch(*config,
                              {reinterpret_cast<const void*>(kernel),
                               [kernel, values = std::tuple<P...>(std::forward<A>(args)...)] {
                                 std::apply(kernel, values);
                               }});
}
