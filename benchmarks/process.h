// What the operating system knows about this process: its processor time, its page faults, its
// memory.
//
//   const ResidentMemory memory;         // before the model is made
//   ... make it, run it ...
//   memory.peak();                       // bytes of RAM that this took at most
//
// The peak above the start counts everything: tensors, caches, scratch memory and what the
// allocator holds back. So it compares programs that count their tensors in different ways, or not
// at all; torch_ddpm_unet.py measures the same.
#pragma once

#include <cstdint>

namespace ito::bench {

/// Processor time of all threads since the program began, in seconds.
double processor_seconds();

/// Pages that were given to the process on a first touch since it began. A step in steady state
/// should need none.
std::int64_t page_faults();

/// Resident memory from here on. One at a time: it resets the peak that the system keeps.
class ResidentMemory {
 public:
  ResidentMemory();
  /// Bytes, at most, above those when this object was made. 0 where the system does not tell (it
  /// needs Linux's /proc).
  std::int64_t peak() const;

 private:
  std::int64_t begin_;
};

}  // namespace ito::bench
