#include "tensor/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "tensor/math.h"

namespace ito::memory {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t machine_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page)
                               : std::size_t{1} << 30;
}

// Addresses without memory behind them until they are touched, or nullptr. `promised`: the system
// may refuse what it could never hold.
char* map_addresses(std::size_t bytes, bool promised) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
  if (!promised) flags |= MAP_NORESERVE;
#endif
  void* const block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  return block == MAP_FAILED ? nullptr : static_cast<char*>(block);
}

}  // namespace

Arena::~Arena() {
  trim();
  for (const Segment& s : segments_) munmap(s.top, static_cast<std::size_t>(s.end - s.top));
}

void* Arena::allocate(std::size_t bytes) {
  if (bytes > SIZE_MAX / 4) return nullptr;
  const std::size_t size = round_up(bytes, granule);
  const auto fits = by_size_.lower_bound({size, nullptr});
  return fits != by_size_.end() ? take(fits->second, size) : grow(size);
}

void Arena::release(void* block, std::size_t bytes) noexcept {
  auto* begin = static_cast<char*>(block);
  std::size_t size = round_up(bytes, granule);
  try {
    // Absorbs the free neighbours. Segments that happen to touch are one stretch as well.
    const auto after = by_address_.lower_bound(begin);
    if (after != by_address_.begin()) {
      const auto [place, length] = *std::prev(after);
      if (place + length == begin) {
        erase(place, length);
        begin = place;
        size += length;
      }
    }
    if (const auto next = by_address_.find(begin + size); next != by_address_.end()) {
      const std::size_t length = next->second;
      erase(next->first, length);
      size += length;
    }
    insert(begin, size);
  } catch (...) {  // no memory to remember it: the system gets it back
    munmap(begin, size);
  }
}

void Arena::trim() {
  for (const auto& [block, size] : by_address_) {
    if (block + size == segments_.back().top) {  // these addresses stay ours
      madvise(block, size, MADV_DONTNEED);
      segments_.back().top = block;
    } else {
      munmap(block, size);
    }
  }
  by_address_.clear();
  by_size_.clear();
  free_bytes_ = 0;
}

// Cuts `size` bytes from the front of a free block.
char* Arena::take(char* block, std::size_t size) {
  const std::size_t length = by_address_.at(block);
  if (length > size) insert(block + size, length - size);
  erase(block, length);
  return block;
}

// A block at the end of the last segment, with the free bytes that lie there already.
char* Arena::grow(std::size_t size) {
  std::size_t there = 0;
  if (!segments_.empty() && !by_address_.empty()) {
    const auto [block, length] = *std::prev(by_address_.end());
    if (block + length == segments_.back().top) there = length;
  }
  if (segments_.empty() ||
      size - there > static_cast<std::size_t>(segments_.back().end - segments_.back().top)) {
    if (!add_segment(size)) return nullptr;
    there = 0;
  }
  Segment& last = segments_.back();
  char* const block = last.top - there;
  if (there > 0) erase(block, there);
  last.top += size - there;
  return block;
}

// One segment as large as the machine's memory is enough, where the system lets us have so many
// addresses at once; else as many as are needed now.
bool Arena::add_segment(std::size_t size) {
  const std::size_t whole = round_up(machine_memory(), huge_page);
  std::size_t length = round_up(size, huge_page) + huge_page;
  char* begin = nullptr;
  if (segments_.empty() && length <= whole) {
    begin = map_addresses(whole + huge_page, /*promised=*/false);
    if (begin != nullptr) length = whole + huge_page;
  }
  if (begin == nullptr) begin = map_addresses(length, /*promised=*/true);
  if (begin == nullptr) return false;
  char* const end = begin + length;
  begin += (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
#if defined(MADV_HUGEPAGE)
  madvise(begin, static_cast<std::size_t>(end - begin), MADV_HUGEPAGE);  // a wish: may be refused
#endif
  segments_.push_back({begin, end});
  return true;
}

void Arena::insert(char* block, std::size_t size) {
  const auto place = by_address_.emplace(block, size).first;
  try {
    by_size_.emplace(size, block);
  } catch (...) {
    by_address_.erase(place);
    throw;
  }
  free_bytes_ += size;
}

void Arena::erase(char* block, std::size_t size) {
  by_address_.erase(block);
  by_size_.erase({size, block});
  free_bytes_ -= size;
}

}  // namespace ito::memory
