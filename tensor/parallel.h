// One pool of threads. Work is cut into chunks that depend on the size of the problem only, never
// on the number of threads, and partial results are combined in chunk order: every result is
// bitwise the same for any number of threads.
//
//   float* y = x.mutable_data<float>();
//   parallel_for(x.numel(), 4096, [&](std::int64_t begin, std::int64_t end) {
//     for (std::int64_t i = begin; i < end; ++i) y[i] *= 2;
//   });
#pragma once

#include <cstdint>
#include <type_traits>

namespace ito {

/// Number of threads that work at the same time, the caller included. Default: the hardware's.
int num_threads();
/// ValueError outside [1, 1024], std::system_error if there are no more threads. Not in
/// parallel_for.
void set_num_threads(int threads);

/// How the pool spent its time since the program began, in seconds of wall time.
struct PoolTimes {
  double working;  ///< of the pool's own threads inside loops, all together
  double waiting;  ///< of callers, at the ends of their loops, for those threads
};
PoolTimes pool_times();

/// The share of `num_threads()` threads that worked in a stretch of `seconds` of one caller, whose
/// code outside loops counts as work of one thread. `before` is pool_times() at its beginning.
double share_of_threads(double seconds, const PoolTimes& before);

namespace detail {
using ChunkFn = void (*)(const void* context, std::int64_t begin, std::int64_t end);
void parallel_chunks(std::int64_t n, std::int64_t grain, ChunkFn fn, const void* context);
}  // namespace detail

/// Calls `f(begin, end)` for the chunks [0, grain), [grain, 2 grain), ... of [0, n), in any order
/// and on any thread; returns when all are done. A nested call runs its chunks one after another on
/// the calling thread. The first exception is rethrown here.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, const F& f) {
  detail::parallel_chunks(
      n, grain,
      [](const void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<const F*>(context))(begin, end);
      },
      &f);
}

}  // namespace ito
