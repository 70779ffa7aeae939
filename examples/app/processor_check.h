// A program that was compiled for a newer processor says so and ends, instead of dying of an
// illegal instruction.
//
//   train_mnist: this processor lacks AVX2, for which the program was built; build it with
//   -DITO_ARCH=x86-64
//
// It looks before main and before the initialisers of other files, which are compiled for that
// processor, too. The file of the check is compiled for any x86-64 and calls C functions alone.
#pragma once

namespace ito::app {

/// Instructions that compilers choose by themselves, oldest first; one bit each.
enum ProcessorFeature : unsigned {
  feature_sse4_2 = 1 << 0,
  feature_popcnt = 1 << 1,
  feature_avx = 1 << 2,
  feature_bmi = 1 << 3,
  feature_bmi2 = 1 << 4,
  feature_fma = 1 << 5,
  feature_avx2 = 1 << 6,
  feature_avx512f = 1 << 7,
  feature_avx512cd = 1 << 8,
  feature_avx512bw = 1 << 9,
  feature_avx512dq = 1 << 10,
  feature_avx512vl = 1 << 11,
};

/// What the flags of this build allow. Data, so that it can be read on any processor.
extern const unsigned built_for;

/// What the processor has on which this runs.
unsigned processor_features();

/// The name of the oldest feature in `needed` that is not in `present`, or null: "AVX2".
const char* first_missing(unsigned needed, unsigned present);

/// Ends the program with exit code 5 and one line on stderr when something is missing. Runs by
/// itself at the start of every program that links this file.
void check_processor();

}  // namespace ito::app
