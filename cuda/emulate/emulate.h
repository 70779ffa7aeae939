// The emulated CUDA device: runs the kernels of cuda/ on the CPU by CUDA's rules, and reports those
// that break them. Tests use the functions below.
//
// One source, two builds. ITO_CUDA=EMULATE compiles the .cu files with the host compiler against
// include/: cuda_runtime.h and cublas_v2.h declare what ito uses of CUDA. What differs in the
// source is behind cuda/launch.h (g++ has no `<<< >>>` and no `__shared__`) and cuda/ptx.h.
//
// Threads are fibers. Each thread of a block has a stack of its own; going from one to the next is
// a switch of six registers (fiber.cpp). A thread runs until it must wait for others: a barrier, a
// shuffle, an mma. Then the scheduler (block.cpp) goes on with another that is ready; who comes
// last does the common work (warp.cpp) and makes the others ready. If nobody is ready and somebody
// waits, the kernel diverges: it is reported with lines and counts. Blocks run one after another. A
// thread that never waits leaves its stack to the next, so kernels without barriers cost a function
// call per thread.
//
// Work is queued. Launches, copies and cuBLAS calls are closures in the queue of their stream, and
// run when the host waits (stream.cpp). So a host buffer that is freed too early, or a result that
// is read without waiting, shows. A graph is a list of such closures: what was passed by value
// stays as it was when recorded, as on a GPU.
//
// Nothing is zero by accident. Device memory, shared memory and the destination of an asynchronous
// copy that nobody has waited for hold 0xff bytes: NaN in every floating type. What is behind an
// allocation is 0xff too, and must still be when it is freed.
//
// With AddressSanitizer (preset emulate-asan) the gaps between allocations and between shared
// arrays are poisoned, and so is all device memory while the host runs: an access out of bounds, to
// freed memory, or by the host is reported at its line. With UndefinedBehaviorSanitizer so are
// misaligned vectors.
//
// With ThreadSanitizer (preset emulate-tsan) each thread of a block is a fiber of the sanitizer's.
// Barriers and __syncwarp order what they order on a GPU; shuffles, votes and the switches order
// nothing; neighbouring blocks are not in order. A missing barrier is a data race then, even where
// the result happens to be right. The emulator itself is compiled without sanitizers, because they
// would take its bookkeeping for the kernels'; on behalf of a thread it calls no memcpy and no
// malloc, which the sanitizers replace.
//
// What it cannot show: the strength of fences, the rounding of tensor cores and fast functions,
// registers, occupancy, speed.
//
// Environment:
//   ITO_EMULATE_ORDER   forward, reversed, shuffled or shuffled:SEED; see set_order
//   ITO_EMULATE_ARCH    80, 86, 89 or 90: the architecture, with its limit of shared memory
//   ITO_EMULATE_SMS     the number of multiprocessors
//   ITO_EMULATE_ERROR   what the first call answers: 35 (no driver), 100 (no device), 209 (no
//                       kernels)
//   ITO_EMULATE_MEMORY  how much the device has, in MiB; see set_memory_size
//   ITO_EMULATE_LEAKS   1: memory that is not freed at exit is an error
//   CUDA_LAUNCH_BLOCKING   1: work runs when it is queued; a debugger then shows who queued it
#pragma once

#include <cstddef>
#include <cstdint>

namespace ito::emulate {

enum class Order { forward, reversed, shuffled };

/// In which order blocks, and the threads that are ready, take their turns. A kernel whose result
/// depends on it has a race.
void set_order(Order order, std::uint32_t seed = 1);

/// Calls since the program began.
struct Counts {
  std::uint64_t launches = 0;          ///< of kernels by the host
  std::uint64_t kernels = 0;           ///< that ran, those of graphs included
  std::uint64_t allocations = 0;       ///< cudaMalloc and cudaMallocHost
  std::uint64_t synchronisations = 0;  ///< waits for a stream, an event or the device
};
Counts counts();

/// Memory of cudaMalloc that is not freed.
struct MemoryInUse {
  std::size_t blocks = 0, bytes = 0;
};
MemoryInUse memory_in_use();
/// How much the device has: 8 GiB unless set.
void set_memory_size(std::size_t bytes);

/// The nth cudaMalloc from now on (1: the next) fails for want of memory. 0: none.
void fail_allocation(int nth);
/// The nth launch from now on fails with a cudaError_t.
void fail_launch(int nth, int error);

}  // namespace ito::emulate
