// What --device, --threads and --dtype of the programs mean.
//
//   const Device device = choose_device(options.device, options.threads, options.quiet);
//   const DType dtype = choose_dtype(options.dtype, device);
#pragma once

#include <cstdint>
#include <string>

#include "tensor/device.h"
#include "tensor/dtype.h"

namespace ito::app {

/// Sets the number of threads (0: all) and returns the device for `name`: auto takes the GPU when
/// there is one. Throws ProgramError (resource) when cuda was asked for and is not there.
Device choose_device(const std::string& name, std::int64_t threads, bool quiet);

/// The dtype "f32" or "bf16" that a network computes in on `device`. Throws ProgramError (usage)
/// for bf16 on the CPU.
DType choose_dtype(const std::string& name, Device device);

}  // namespace ito::app
