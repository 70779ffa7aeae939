// Compiled with the flags of the programs; no code.
#include "examples/app/processor_check.h"

namespace ito::app {

extern constexpr unsigned built_for = 0
#ifdef __SSE4_2__
                                      | feature_sse4_2
#endif
#ifdef __POPCNT__
                                      | feature_popcnt
#endif
#ifdef __AVX__
                                      | feature_avx
#endif
#ifdef __BMI__
                                      | feature_bmi
#endif
#ifdef __BMI2__
                                      | feature_bmi2
#endif
#ifdef __FMA__
                                      | feature_fma
#endif
#ifdef __AVX2__
                                      | feature_avx2
#endif
#ifdef __AVX512F__
                                      | feature_avx512f
#endif
#ifdef __AVX512CD__
                                      | feature_avx512cd
#endif
#ifdef __AVX512BW__
                                      | feature_avx512bw
#endif
#ifdef __AVX512DQ__
                                      | feature_avx512dq
#endif
#ifdef __AVX512VL__
                                      | feature_avx512vl
#endif
    ;

}  // namespace ito::app
