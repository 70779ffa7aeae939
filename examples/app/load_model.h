// load_model and load_classifier for programs, with the right exit code.
//
//   const Model model = app::load_model(o.checkpoint, o.raw, device);
#pragma once

#include <string>

#include "diffusion/models/classifier_file.h"
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

/// What --classifier names. Throws ProgramError (checkpoint).
inline LoadedClassifier load_classifier(const std::string& path, Device device = Device::cpu()) {
  return with_exit_code(ExitCode::checkpoint, [&] { return ito::load_classifier(path, device); });
}

}  // namespace ito::app
