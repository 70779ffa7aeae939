#include "cuda/emulate/shared.h"

#include <cstdint>
#include <cstdlib>

#include "cuda/emulate/block.h"
#include "cuda/emulate/ptx.h"
#include "cuda/emulate/sanitizer.h"
#include "cuda/emulate/settings.h"
#include "tensor/math.h"

namespace ito::emulate {
namespace {

constexpr std::size_t gap = 64;  // around arrays: NaN, and poisoned
constexpr std::size_t static_limit = 48 * 1024;
constexpr std::size_t capacity = 512 * 1024;  // more than any block may have
constexpr std::size_t slab_bytes = 16 * 1024 * 1024;
constexpr int max_arrays = 64;

struct Array {
  const void* key;
  char* data;
};

// Arrays are carved from a part of a slab; the gaps between them do not count as used.
struct Shared {
  char* slab = nullptr;
  char* begin = nullptr;  // of the part of this block
  std::size_t end = 0;    // how much of it is carved
  std::size_t static_bytes = 0, dynamic_bytes = 0, limit = 0;
  char* dynamic_array = nullptr;
  int arrays = 0;
  Array array[max_arrays];
};
Shared shared;

// Not memset, which the sanitizers would take for the kernel's; the attribute keeps the compiler
// from making it one.
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void fill_with_nan(
    char* p, std::size_t bytes) {
  auto* words = reinterpret_cast<std::uint64_t*>(p);
  for (std::size_t i = 0; i < (bytes + 7) / 8; ++i) words[i] = ~std::uint64_t{0};
}

char* carve(std::size_t bytes, std::size_t alignment) {
  const std::size_t start = round_up(shared.end + gap, alignment);
  if (start + bytes > capacity) broken_rule("shared memory of a block: over %zu bytes", capacity);
  char* const gap_before = shared.begin + shared.end;
  shared.end = (start + bytes + 7) / 8 * 8;
  unpoison(gap_before, shared.begin + shared.end + gap - gap_before);
  fill_with_nan(gap_before, shared.begin + shared.end + gap - gap_before);
  poison(gap_before, shared.begin + shared.end + gap - gap_before);
  unpoison(shared.begin + start, bytes);
  return shared.begin + start;
}

// A slab that ThreadSanitizer knows nothing of: memory that is allocated while it looks away has no
// history.
void new_slab() {
  if (AnnotateIgnoreReadsBegin) AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  std::free(shared.slab);
  shared.slab = static_cast<char*>(std::aligned_alloc(1024, slab_bytes));
  if (AnnotateIgnoreReadsEnd) AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  shared.begin = shared.slab;
  poison(shared.slab, slab_bytes);
}

constexpr int copies_per_thread = 128;

struct Copy {
  void* shared;
  Words data;
  unsigned group;
};
// Of one thread: copies [first, end) of its ring are under way; `group` is the open one.
struct Copies {
  unsigned first, end, group;
};
Copies copies[max_threads];
Copy ring[max_threads][copies_per_thread];

}  // namespace

void start_shared_memory(std::size_t dynamic_bytes, std::size_t limit) {
  if (!shared.slab) new_slab();
  poison(shared.begin, shared.end + gap);
  if (thread_sanitizer()) {
    // For the sanitizer, what the block before did is not in order with what this one does: each
    // has memory of its own.
    shared.begin += (shared.end + 1023) / 1024 * 1024;
    if (shared.begin + capacity > shared.slab + slab_bytes) new_slab();
  }
  shared.end = shared.static_bytes = 0;
  shared.arrays = 0;
  shared.limit = limit;
  shared.dynamic_bytes = dynamic_bytes;
  shared.dynamic_array = carve(dynamic_bytes, 128);
}

bool in_shared_memory(const void* p, std::size_t bytes) {
  const auto* c = static_cast<const char*>(p);
  return c >= shared.begin && c + bytes <= shared.begin + shared.end;
}

void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, const char* name) {
  for (int i = 0; i < shared.arrays; ++i)
    if (shared.array[i].key == key) return shared.array[i].data;
  shared.static_bytes = round_up(shared.static_bytes, alignment) + bytes;
  if (shared.static_bytes > static_limit) {
    broken_rule("shared array %s: the static arrays of a kernel may take %zu bytes; these take %zu",
                name, static_limit, shared.static_bytes);
  }
  if (shared.static_bytes + shared.dynamic_bytes > shared.limit) {
    broken_rule("shared array %s: %zu bytes static and %zu dynamic; the limit is %zu", name,
                shared.static_bytes, shared.dynamic_bytes, shared.limit);
  }
  if (shared.arrays == max_arrays) broken_rule("over %d shared arrays in a kernel", max_arrays);
  char* data = carve(bytes, alignment);
  shared.array[shared.arrays++] = {key, data};
  return data;
}

void* dynamic_shared_array() { return shared.dynamic_array; }

void check_shared_16(const void* p, const char* instruction, const Where& where) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0)
    broken_rule("%s:%u: %s: address in shared memory is not a multiple of 16", where.file_name(),
                static_cast<unsigned>(where.line()), instruction);
  if (!in_shared_memory(p, 16))
    broken_rule("%s:%u: %s: address is not in shared memory", where.file_name(),
                static_cast<unsigned>(where.line()), instruction);
}

void check_global_16(const void* p, const char* instruction, const Where& where) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0)
    broken_rule("%s:%u: %s: address in global memory is not a multiple of 16", where.file_name(),
                static_cast<unsigned>(where.line()), instruction);
}

void start_copy(void* to, const Words& data) {
  Copies& c = copies[current_thread()];
  if (c.end - c.first == copies_per_thread)
    broken_rule("over %d copies of cp.async under way in one thread", copies_per_thread);
  ring[current_thread()][c.end++ % copies_per_thread] = {to, data, c.group};
}

void commit_copies() { ++copies[current_thread()].group; }

bool finish_copy(int pending, void** to, Words* data) {
  Copies& c = copies[current_thread()];
  if (c.first == c.end) return false;
  const Copy& oldest = ring[current_thread()][c.first % copies_per_thread];
  if (static_cast<int>(c.group - oldest.group) <= pending) return false;
  *to = oldest.shared;
  *data = oldest.data;
  ++c.first;
  return true;
}

void drop_copies(unsigned index) { copies[index] = {}; }

}  // namespace ito::emulate
