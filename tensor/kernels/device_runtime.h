// Contract: what a second device must offer beside kernels: memory, copies, recorded work. Defined
// in cuda/ when the build has it; named only behind `if constexpr (build::cuda)`, so a CPU build
// needs no stubs.
//
// All work on the device is queued in one order. Nothing here waits for it except copy_to_host.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace ito::cuda {

/// Empty when a device answers; otherwise one line that says why not.
std::string why_unavailable(int index);

/// A block of at least `bytes` bytes, aligned to 256. Throws MemoryError with the bytes asked for,
/// in use, cached, free and total; DeviceError when the device is not available, and when a graph
/// is being recorded and its memory is used up.
void* allocate(int index, std::size_t bytes);
/// Gives a block of `allocate` back, with the same `bytes`: work queued before may still use it.
void release(int index, void* block, std::size_t bytes) noexcept;

/// As memory::Usage; `current` and `peak` count the scratch memory of kernels, too.
struct MemoryUsage {
  std::size_t current, peak, cached;
};
MemoryUsage memory_usage(int index);
void reset_peak(int index);
/// Throws DeviceError while a graph is recorded.
void empty_cache(int index);

/// Returns when `source` may be changed, before the bytes have arrived: work queued later sees
/// them. While a graph is recorded the bytes become part of it, up to 64 KiB in all.
void copy_to_device(int index, void* destination, const void* source, std::size_t bytes);
/// Waits for all queued work. Throws DeviceError while a graph is recorded.
void copy_to_host(int index, void* destination, const void* source, std::size_t bytes);
void copy_on_device(int index, void* destination, const void* source, std::size_t bytes);

/// A moment in the queue of work, for measuring.
class Moment;
/// Marks the end of what is queued so far. Throws DeviceError while a graph is recorded.
std::shared_ptr<Moment> mark(int index);
/// The time that the device took from one to the other. Waits until both have passed.
double seconds_between(const Moment& first, const Moment& last);

/// What ito::CudaGraph is on this device.
class RecordedWork;
std::shared_ptr<RecordedWork> make_graph(int index);
/// Runs (first call), records and starts (second), or starts the work, as ito::CudaGraph::run says.
void run_graph(RecordedWork& graph, const std::function<void()>& work);
/// Whether a graph is being recorded.
bool capturing();

}  // namespace ito::cuda
