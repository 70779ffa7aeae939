// Kernels of known time and work, for the tests of profiles.
#pragma once

#include <chrono>
#include <cstdint>

#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/kernels/cost.h"
#include "tensor/launch.h"

namespace ito::test {

/// Works for some time and says that it did so many operations.
struct Busy {
  static constexpr const char* name = "busy";
  struct Args {
    std::int64_t microseconds;
    double flops, bytes;
  };
  static void cpu(const Args& a) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(a.microseconds);
    while (std::chrono::steady_clock::now() < end) {
    }
  }
  static kernel::Cost cost(const Args& a) { return {.flops = a.flops, .bytes = a.bytes}; }
};

struct NoCost {
  static constexpr const char* name = "no_cost";
  struct Args {};
  static void cpu(const Args&) { asm volatile(""); }  // not to be optimised away
};

struct Throws {
  static constexpr const char* name = "throws";
  struct Args {};
  static void cpu(const Args&) { throw ValueError("thrown by a kernel"); }
};

struct Composed {
  static constexpr const char* name = "composed";
  struct Args {};
  static void cpu(const Args&) {
    for (int i = 0; i < 3; ++i) launch<Busy>(Device::cpu(), {0, 1.0, 1.0});
  }
};

}  // namespace ito::test
