// Which ito this is, and what it was built for.
//
//   fmt::print("{}\n", build::describe("sample"));       // --version of a program
//
//   sample (ito 0.2.0)
//   compiler   GNU 12.2.0, Release
//   processor  -march=native: AVX-512 (f bw cd dq vl), AVX2, FMA
//   CUDA       sm_80 sm_90
//
// Of the library, not of the program that asks: where several builds of the library lie side by
// side, this is the one that was loaded. Constants for `if constexpr` are in build.h.
#pragma once

#include <string>

namespace ito::build {

/// Such as "0.2.0": the version of CMake's project().
std::string version();

/// What the compiler was told and could use, such as "-march=x86-64-v3: AVX2, FMA".
std::string processor();

/// "sm_80 sm_90", "emulated device" or "none: CPU only".
std::string cuda_architectures();

/// The four lines above, without a newline at the end.
std::string describe(const std::string& program);

}  // namespace ito::build
