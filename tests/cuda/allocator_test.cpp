// The allocator itself, with its cache on also under sanitizers.
#include "cuda/allocator.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "cuda/emulate/emulate.h"
#include "tensor/build.h"
#include "tensor/error.h"
#include "tests/devices.h"

using namespace ito;
using cuda::Allocator;

namespace {

std::uintptr_t address(const void* block) { return reinterpret_cast<std::uintptr_t>(block); }

}  // namespace

TEST_CASE("Allocator: blocks are aligned, apart from each other, and counted as asked") {
  if (!testing::device_answers()) return;
  Allocator allocator(true);
  std::vector<std::pair<void*, std::size_t>> blocks;
  std::size_t total = 0;
  for (const std::size_t bytes : {0, 1, 511, 512, 513, 4096, 4097, 5000, 1000000, 3000000}) {
    blocks.emplace_back(allocator.allocate(bytes), bytes);
    total += bytes;
    CHECK(address(blocks.back().first) % 256 == 0);
  }
  CHECK(allocator.usage().current == total);
  CHECK(allocator.usage().peak == total);
  for (const auto& [a, size_a] : blocks) {
    for (const auto& [b, size_b] : blocks) {
      if (a != b) CHECK((address(a) + size_a <= address(b) || address(b) + size_b <= address(a)));
    }
  }
  for (const auto& [block, bytes] : blocks) allocator.release(block, bytes);
  CHECK(allocator.usage().current == 0);
  CHECK(allocator.usage().cached >= total);
  CHECK(allocator.usage().cached <= total + total / 8 + 512 * blocks.size());
  allocator.empty_cache();
  CHECK(allocator.usage().cached == 0);
  CHECK(allocator.usage().peak == total);
  allocator.reset_peak();
  CHECK(allocator.usage().peak == 0);
}

TEST_CASE("Allocator: a freed block serves the next of its size, and others do not get it") {
  if (!testing::device_answers()) return;
  Allocator allocator(true);
  void* a = allocator.allocate(100000);
  allocator.release(a, 100000);
  void* other = allocator.allocate(200000);
  CHECK(other != a);
  void* near = allocator.allocate(99000);  // the same size class
  CHECK(near == a);
  CHECK(allocator.usage().cached == 0);
  allocator.release(near, 99000);
  allocator.release(other, 200000);
}

TEST_CASE("Allocator: every size gets a class of at most an eighth more") {
  if (!testing::device_answers()) return;
  Allocator allocator(true);
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 24); bytes += 1 + bytes * 3 / 16) {
    void* block = allocator.allocate(bytes);
    allocator.release(block, bytes);
    const std::size_t size = allocator.usage().cached;
    CHECK(size >= bytes);
    CHECK(size <= bytes + std::max<std::size_t>(512, bytes / 8));
    allocator.empty_cache();
  }
}

TEST_CASE("Allocator: without a cache each block goes back to the system") {
  if (!testing::device_answers()) return;
  Allocator allocator(false);
  void* block = allocator.allocate(100000);
  allocator.release(block, 100000);
  CHECK(allocator.usage().cached == 0);
  CHECK(allocator.usage().current == 0);
}

TEST_CASE("Allocator: a graph's blocks are nobody else's until it is closed") {
  if (!testing::device_answers()) return;
  for (const bool keep : {true, false}) {
    Allocator allocator(keep);
    Allocator::Pool* pool = allocator.open();
    allocator.enter(pool);
    void* temporary = allocator.allocate(1000);
    allocator.release(temporary, 1000);
    CHECK(allocator.allocate(1000) == temporary);  // kept in any case
    allocator.release(temporary, 1000);
    void* result = allocator.allocate(3000);
    allocator.leave();
    CHECK(allocator.usage().cached >= 1000);

    std::set<void*> others;
    for (int i = 0; i < 4; ++i) others.insert(allocator.allocate(1000));
    for (int i = 0; i < 4; ++i) others.insert(allocator.allocate(3000));
    CHECK(others.count(temporary) == 0);
    CHECK(others.count(result) == 0);
    allocator.empty_cache();
    CHECK(allocator.usage().cached >= 1000);  // the graph's stay

    allocator.close(pool);
    CHECK((allocator.usage().cached >= 1000) == keep);
    CHECK(allocator.usage().current == 4 * 4000 + 3000);
    allocator.release(result, 3000);  // outlived its graph
    if (keep) {
      CHECK(allocator.allocate(3000) == result);
      CHECK(allocator.allocate(1000) == temporary);
    } else {
      CHECK(allocator.usage().cached == 0);
    }
  }
}

TEST_CASE("Allocator: a graph takes from the cache before it asks the system") {
  if (!testing::device_answers()) return;
  Allocator allocator(true);
  void* block = allocator.allocate(1000);
  allocator.release(block, 1000);
  Allocator::Pool* pool = allocator.open();
  allocator.enter(pool);
  CHECK(allocator.allocate(1000) == block);
  allocator.leave();
  allocator.release(block, 1000);
  void* other = allocator.allocate(1000);
  CHECK(other != block);
  allocator.close(pool);
}

TEST_CASE("Allocator: before the recording there is room for what the first run left in use") {
  if (!testing::device_answers()) return;
  for (const bool keep : {true, false}) {
    Allocator allocator(keep);
    Allocator::Pool* pool = allocator.open();
    allocator.enter(pool);
    void* result = allocator.allocate(1000);
    void* temporary = allocator.allocate(50000);
    allocator.release(temporary, 50000);
    const std::size_t cached = allocator.usage().cached;
    allocator.reserve_second_run(pool);
    CHECK(allocator.usage().cached == cached + 1024);
    CHECK(allocator.allocate(1000) != result);
    allocator.leave();
    // Nothing was recorded: what is free is of no use to the graph.
    allocator.trim(pool);
    CHECK(allocator.usage().cached == (keep ? cached : 0));
    allocator.empty_cache();
    CHECK(allocator.usage().cached == 0);
    allocator.close(pool);
  }
}

TEST_CASE("Allocator: out of memory, it gives its cache back and tries again") {
  if (!testing::device_answers()) return;
  Allocator allocator(true);
  allocator.release(allocator.allocate(1000000), 1000000);
  CHECK(allocator.usage().cached >= 1000000);
  CHECK_THROWS_AS(allocator.allocate(std::size_t{1} << 50), MemoryError);
  CHECK(allocator.usage().cached == 0);
  CHECK(allocator.usage().current == 0);
  allocator.release(allocator.allocate(1000), 1000);
}

TEST_CASE("Allocator: the system's refusal is final only when there is no cache to give back") {
  if (!testing::device_answers()) return;
  if constexpr (build::emulated) {
    Allocator allocator(true);
    allocator.release(allocator.allocate(1000000), 1000000);
    emulate::fail_allocation(1);
    void* block = allocator.allocate(2000000);
    CHECK(allocator.usage().cached == 0);
    CHECK(allocator.usage().current == 2000000);
    // The second attempt fails for real: only 3 MB are left.
    emulate::set_memory_size(emulate::memory_in_use().bytes + 3000000);
    void* most = allocator.allocate(2500000);
    std::string text;
    try {
      allocator.allocate(1000000);
    } catch (const MemoryError& e) {
      text = e.what();
    }
    emulate::set_memory_size(std::size_t{8} << 30);
    CHECK(text.find("out of memory on cuda:0: asked for 1000000 bytes (1.0 MiB), 4500000 (4.3 MiB) "
                    "in use by tensors, 0.0 MiB kept by graphs; the GPU has ") == 0);
    CHECK(allocator.usage().current == 4500000);
    allocator.release(most, 2500000);
    allocator.release(block, 2000000);
  }
}
