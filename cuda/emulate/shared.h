// Shared memory of the block that runs, and the asynchronous copies into it.
#pragma once

#include <cstddef>

namespace ito::emulate {

// For a new block: no arrays but the dynamic one, all of it NaN. `limit`: for static and dynamic
// arrays together.
void start_shared_memory(std::size_t dynamic_bytes, std::size_t limit);
bool in_shared_memory(const void* p, std::size_t bytes);
// Forgets the copies that thread `index` never waited for.
void drop_copies(unsigned index);
// The thread that runs: its index in the block.
unsigned current_thread();

}  // namespace ito::emulate
