// load_model for programs: --checkpoint and --raw, with the right exit code.
#pragma once

#include <string>

#include "diffusion/models/model_file.h"
#include "examples/app/exit_codes.h"

namespace ito::app {

/// The library's load_model (diffusion/models/model_file.h). Throws ProgramError (checkpoint).
inline Model load_model(const std::string& path, bool raw, Device device = Device::cpu(),
                        DType dtype = DType::f32) {
  return with_exit_code(ExitCode::checkpoint, [&] {
    return ito::load_model(path, raw ? Weights::raw : Weights::average, device, dtype);
  });
}

}  // namespace ito::app
