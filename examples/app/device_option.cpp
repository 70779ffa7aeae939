#include "examples/app/device_option.h"

#include <cstdio>

#include "examples/app/exit_codes.h"
#include "examples/app/output.h"
#include "tensor/build.h"
#include "tensor/parallel.h"

namespace ito::app {

Device choose_device(const std::string& name, std::int64_t threads, bool quiet) {
  if (threads > 0) set_num_threads(static_cast<int>(threads));
  if (name == "cpu") return Device::cpu();
  if (available(Device::cuda())) return Device::cuda();
  if (name == "cuda") {
    stop(ExitCode::resource, "--device cuda: {}", why_unavailable(Device::cuda()));
  }
  if (build::cuda && !quiet) {
    print(stderr, "device auto: using the CPU ({})\n", why_unavailable(Device::cuda()));
  }
  return Device::cpu();
}

DType choose_dtype(const std::string& name, Device device) {
  if (name == "f32") return DType::f32;
  if (device.is_cpu()) {
    stop(ExitCode::usage, "--dtype {} needs --device cuda: the CPU computes in f32", name);
  }
  return DType::bf16;
}

}  // namespace ito::app
