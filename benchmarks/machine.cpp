#include "benchmarks/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"
#include "tensor/tensor.h"

namespace ito::bench {
namespace {

template <class F>
double best_seconds(F f) {
  double best = 1e30;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count());
  }
  return best;
}

// Of pieces of 1 MiB and of 8: the C library goes around the caches for large ones, which is faster
// on some machines.
double measure_copy() {
  constexpr std::int64_t bytes = std::int64_t{256} << 20;
  const Tensor from = Tensor::full({bytes}, 1.0, DType::u8);
  Tensor to = Tensor::full({bytes}, 0.0, DType::u8);
  const auto* x = static_cast<const char*>(from.raw());
  auto* y = static_cast<char*>(to.mutable_raw());
  double seconds = 1e30;
  for (const std::int64_t piece : {1 << 20, 1 << 23}) {
    seconds = std::min(seconds, best_seconds([&] {
                         parallel_for(bytes, piece, [&](std::int64_t begin, std::int64_t end) {
                           std::memcpy(y + begin, x + begin, static_cast<std::size_t>(end - begin));
                         });
                       }));
  }
  return 2.0 * static_cast<double>(bytes) / seconds;
}

double measure_fma() {
  constexpr std::int64_t steps = 1 << 22, chains = 10;
  using V = simd::vector_of<float>;
  const std::int64_t tasks = num_threads();
  const double seconds = best_seconds([&] {
    parallel_for(tasks, 1, [&](std::int64_t, std::int64_t) {
      V sums[chains] = {};
      const V a = V{} + 0.999f, b = V{} + 1e-3f;
      for (std::int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 10
        for (V& sum : sums) sum = sum * a + b;
      }
      for (V& sum : sums) asm volatile("" : : "m"(sum));  // the sums are wanted
    });
  });
  return 2.0 * static_cast<double>(tasks * steps * chains * simd::lanes<float>) / seconds;
}

}  // namespace

Machine measure_machine() { return {measure_copy(), measure_fma()}; }

}  // namespace ito::bench
