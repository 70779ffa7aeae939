// The arena by itself, without touching its memory: so also under sanitizers, where tensors bypass
// it.
#include "tensor/arena.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

using ito::memory::Arena;

namespace {

using Orders = std::vector<std::vector<std::size_t>>;

constexpr std::size_t page = Arena::granule;

char* get(Arena& arena, std::size_t pages) {
  return static_cast<char*>(arena.allocate(pages * page));
}

}  // namespace

TEST_CASE("arena: a freed block joins its free neighbours, whichever is freed last") {
  for (const auto& order : Orders{{0, 1, 2}, {2, 1, 0}, {0, 2, 1}}) {
    Arena arena;
    char* const first = get(arena, 6);
    char* const blocks[] = {first, get(arena, 5), get(arena, 7)};
    const std::size_t pages[] = {6, 5, 7};
    char* const wall = get(arena, 1);  // so that the three are not at the end
    for (const std::size_t i : order) arena.release(blocks[i], pages[i] * page);
    CHECK(arena.free_bytes() == 18 * page);
    CHECK(get(arena, 18) == first);
    CHECK(arena.free_bytes() == 0);
    arena.release(first, 18 * page);
    arena.release(wall, page);
  }
}

TEST_CASE("arena: takes the smallest free block that fits, and the lowest of equals") {
  Arena arena;
  std::vector<char*> blocks;
  for (const std::size_t pages : {9, 1, 4, 1, 6, 1, 4, 1}) blocks.push_back(get(arena, pages));
  arena.release(blocks[0], 9 * page);
  arena.release(blocks[6], 4 * page);
  arena.release(blocks[2], 4 * page);
  arena.release(blocks[4], 6 * page);
  CHECK(get(arena, 4) == blocks[2]);
  CHECK(get(arena, 4) == blocks[6]);
  CHECK(get(arena, 4) == blocks[4]);
  CHECK(get(arena, 2) == blocks[4] + 4 * page);  // what the last one left
  CHECK(get(arena, 10) > blocks[7]);             // nothing fits: at the end
  CHECK(arena.free_bytes() == 9 * page);
}

TEST_CASE("arena: grows from the free block at its end") {
  Arena arena;
  char* const kept = get(arena, 2);
  char* const last = get(arena, 3);
  arena.release(last, 3 * page);
  CHECK(get(arena, 8) == last);
  CHECK(arena.free_bytes() == 0);
  arena.release(kept, 2 * page);
}

TEST_CASE("arena: sizes are rounded to pages, and what is larger than memory is refused") {
  Arena arena;
  void* const one = arena.allocate(1);
  CHECK(reinterpret_cast<std::uintptr_t>(one) % page == 0);
  arena.release(one, 1);
  CHECK(arena.free_bytes() == page);
  CHECK(arena.allocate(page - 1) == one);
  CHECK(arena.allocate(SIZE_MAX) == nullptr);
  CHECK(arena.allocate(SIZE_MAX / 8) == nullptr);
  CHECK(get(arena, 1) != nullptr);  // the rest goes on
}

TEST_CASE("arena: live blocks never overlap, and free bytes are those between them") {
  Arena arena;
  std::map<char*, std::size_t> live;
  std::uint64_t state = 3;
  const auto below = [&](std::uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state >> 33) % n);
  };
  char *lowest = nullptr, *highest = nullptr;
  std::size_t in_use = 0, overlaps = 0;
  for (int i = 0; i < 20000; ++i) {
    if (i % 5000 == 4999) arena.trim();
    if (!live.empty() && below(100) < live.size()) {
      const auto gone = std::next(live.begin(), static_cast<std::ptrdiff_t>(below(live.size())));
      in_use -= gone->second;
      arena.release(gone->first, gone->second);
      live.erase(gone);
      continue;
    }
    const std::size_t size = (1 + below(64)) * page;
    char* const block = static_cast<char*>(arena.allocate(size));
    const auto next = live.emplace(block, size).first;
    overlaps += std::next(next) != live.end() && block + size > std::next(next)->first;
    overlaps += next != live.begin() && std::prev(next)->first + std::prev(next)->second > block;
    in_use += size;
    if (lowest == nullptr || block < lowest) lowest = block;
    if (block + size > highest) highest = block + size;
    if (i < 4999) CHECK(arena.free_bytes() + in_use == static_cast<std::size_t>(highest - lowest));
  }
  CHECK(overlaps == 0);
  for (const auto& [block, size] : live) arena.release(block, size);
  arena.trim();
  CHECK(arena.free_bytes() == 0);
}
