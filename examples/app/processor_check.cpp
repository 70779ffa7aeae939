// Compiled for any x86-64 (CMakeLists.txt). No inline function of a C++ header: the linker could
// take the copy of another file, which is compiled for the newer processor.
#include "examples/app/processor_check.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

namespace ito::app {

unsigned processor_features() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  __builtin_cpu_init();
  unsigned f = 0;
  if (__builtin_cpu_supports("sse4.2")) f |= feature_sse4_2;
  if (__builtin_cpu_supports("popcnt")) f |= feature_popcnt;
  if (__builtin_cpu_supports("avx")) f |= feature_avx;
  if (__builtin_cpu_supports("bmi")) f |= feature_bmi;
  if (__builtin_cpu_supports("bmi2")) f |= feature_bmi2;
  if (__builtin_cpu_supports("fma")) f |= feature_fma;
  if (__builtin_cpu_supports("avx2")) f |= feature_avx2;
  if (__builtin_cpu_supports("avx512f")) f |= feature_avx512f;
  if (__builtin_cpu_supports("avx512cd")) f |= feature_avx512cd;
  if (__builtin_cpu_supports("avx512bw")) f |= feature_avx512bw;
  if (__builtin_cpu_supports("avx512dq")) f |= feature_avx512dq;
  if (__builtin_cpu_supports("avx512vl")) f |= feature_avx512vl;
  return f;
#else
  return ~0U;  // elsewhere nobody looks
#endif
}

const char* first_missing(unsigned needed, unsigned present) {
  static const char* const names[] = {"SSE4.2",    "POPCNT",    "AVX",       "BMI",
                                      "BMI2",      "FMA",       "AVX2",      "AVX-512F",
                                      "AVX-512CD", "AVX-512BW", "AVX-512DQ", "AVX-512VL"};
  const unsigned missing = needed & ~present;
  for (unsigned i = 0; i < sizeof names / sizeof *names; ++i) {
    if ((missing >> i & 1) != 0) return names[i];
  }
  return nullptr;
}

void check_processor() {
  const unsigned present = processor_features();
  const char* missing = first_missing(built_for, present);
  if (missing == nullptr) return;
  const unsigned v3 = feature_sse4_2 | feature_popcnt | feature_avx | feature_bmi | feature_bmi2 |
                      feature_fma | feature_avx2;
  const char* arch = first_missing(v3, present) == nullptr ? "x86-64-v3" : "x86-64";
  dprintf(STDERR_FILENO,
          "%s: this processor lacks %s, for which the program was built; build it with "
          "-DITO_ARCH=%s\n",
          program_invocation_short_name, missing, arch);
  _exit(5);  // ExitCode::resource
}

namespace {
// A function of its own: on one that a header declares, g++ 12 forgets the priority.
__attribute__((constructor(101))) void at_start() { check_processor(); }
}  // namespace

}  // namespace ito::app
