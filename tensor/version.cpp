// The definitions ITO_VERSION, ITO_COMPILER, ITO_BUILD_TYPE, ITO_MARCH and ITO_CUDA_CODE are of
// this file alone (CMakeLists.txt), so that a new version compiles nothing else.
#include "tensor/version.h"

#include <fmt/format.h>

#include "tensor/build.h"

namespace ito::build {
namespace {

// The widest vectors first. What each implies is left out.
std::string features() {
  std::string text;
  const auto add = [&text](const char* name) {
    if (!text.empty()) text += ", ";
    text += name;
  };
#if defined(__AVX512F__)
  std::string parts = "f";
#if defined(__AVX512BW__)
  parts += " bw";
#endif
#if defined(__AVX512CD__)
  parts += " cd";
#endif
#if defined(__AVX512DQ__)
  parts += " dq";
#endif
#if defined(__AVX512VL__)
  parts += " vl";
#endif
  add(fmt::format("AVX-512 ({})", parts).c_str());
#endif
#if defined(__AVX2__)
  add("AVX2");
#elif defined(__AVX__)
  add("AVX");
#elif defined(__SSE4_2__)
  add("SSE4.2");
#elif defined(__SSE2__)
  add("SSE2");
#elif defined(__ARM_NEON)
  add("NEON");
#endif
#if defined(__FMA__)
  add("FMA");
#endif
  return text.empty() ? "no vectors" : text;
}

}  // namespace

std::string version() { return ITO_VERSION; }

std::string processor() {
  const std::string march = ITO_MARCH;
  return (march.empty() ? "the compiler's default" : "-march=" + march) + ": " + features();
}

std::string cuda_architectures() {
  if constexpr (emulated) return "emulated device";
  if constexpr (!cuda) return "none: CPU only";
  return ITO_CUDA_CODE;
}

std::string describe(const std::string& program) {
  return fmt::format(
      "{} (ito {})\n"
      "compiler   {}, {}\n"
      "processor  {}\n"
      "CUDA       {}",
      program, version(), ITO_COMPILER, ITO_BUILD_TYPE, processor(), cuda_architectures());
}

}  // namespace ito::build
