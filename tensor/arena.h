// Large blocks of memory on the CPU: cut from one stretch of addresses, merged again when freed.
//
// A training step asks for some hundred sizes, and for others on the way back than on the way down.
// A cache of exact sizes keeps, for each size, the most blocks that ever lived together; sums over
// sizes that live at different times are memory nobody uses. Here a freed block joins its free
// neighbours, and a request takes the smallest free block that holds it, the lowest of those
// (address-ordered best fit: hardly any fragmentation on real programs; Johnstone & Wilson 1998,
// "The memory fragmentation problem: solved?"). Only when none fits does the arena grow, from the
// free block at its end if there is one.
//
// Cost: two searches in balanced trees, about 0.2 us, next to kernels of 10 us and more. Pages are
// touched once, by 2 MiB where the system has huge pages, and stay: a step after the first faults
// on none.
//
//   memory::Arena arena;
//   void* block = arena.allocate(1 << 20);   // nullptr: the system has no more
//   arena.release(block, 1 << 20);           // the same bytes: blocks have no header
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace ito::memory {

/// Not for several threads at once. Never gives memory back but by trim().
class Arena {
 public:
  static constexpr std::size_t granule = 4096;  ///< sizes and addresses are multiples of it

  Arena() = default;
  ~Arena();  ///< gives back what is free
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A block of at least `bytes` > 0 bytes, or nullptr when the system gives no memory.
  void* allocate(std::size_t bytes);
  /// Takes back a block of `allocate(bytes)`.
  void release(void* block, std::size_t bytes) noexcept;
  /// Gives free blocks back to the system.
  void trim();
  /// Bytes in free blocks.
  std::size_t free_bytes() const { return free_bytes_; }

 private:
  // Addresses from the system. What lies above `top` was never handed out.
  struct Segment {
    char* top;
    char* end;
  };

  char* take(char* block, std::size_t size);
  char* grow(std::size_t size);
  bool add_segment(std::size_t size);
  void insert(char* block, std::size_t size);
  void erase(char* block, std::size_t size);

  std::map<char*, std::size_t> by_address_;          // free blocks: begin, size
  std::set<std::pair<std::size_t, char*>> by_size_;  // the same
  std::vector<Segment> segments_;                    // the last one grows
  std::size_t free_bytes_ = 0;
};

}  // namespace ito::memory
