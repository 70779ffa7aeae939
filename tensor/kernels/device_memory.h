// Contract: what a second device must offer beside kernels. Defined in cuda/ when the build has it;
// named only behind `if constexpr (build::cuda)`, so a CPU build needs no stubs.
#pragma once

#include <cstddef>
#include <string>

namespace ito::cuda {

/// Empty when a device answers; otherwise one line that says why not.
std::string why_unavailable(int index);
void* allocate(int index, std::size_t bytes);
void release(int index, void* block, std::size_t bytes) noexcept;
void copy_to_device(int index, void* destination, const void* source, std::size_t bytes);
void copy_to_host(int index, void* destination, const void* source, std::size_t bytes);
void copy_on_device(int index, void* destination, const void* source, std::size_t bytes);
void empty_cache(int index);

}  // namespace ito::cuda
