// What the environment and the tests ask of the emulated device.
#pragma once

#include <cstddef>

#include "cuda/emulate/emulate.h"

namespace ito::emulate {

struct Model {
  int architecture = 90;
  int multiprocessors = 16;
  std::size_t shared_default = 48 * 1024;
  std::size_t shared_opt_in = 227 * 1024;
  int error = 0;  // of the first call
  bool report_leaks = false;
  bool blocking = false;
};
const Model& model();

Counts& counters();

// Whether this is the call that a test wants to fail.
bool allocation_must_fail();
bool launch_must_fail(int* error);

// Ends the program with a message: a kernel or its caller broke a rule of CUDA.
[[noreturn]] void broken_rule(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace ito::emulate
