// What this machine can do, measured: the yardstick of bench_ops and of bench_train_step --profile.
#pragma once

namespace ito::bench {

struct Machine {
  double copy_bytes;  ///< read and written per second by a copy much larger than the caches
  double fma_flops;   ///< per second, of f32 multiply-adds that stay in registers; two each
};

/// Measures both with all threads; takes some tenths of a second.
Machine measure_machine();

}  // namespace ito::bench
