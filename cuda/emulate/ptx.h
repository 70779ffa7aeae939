// The functions of cuda/ptx.h on the emulated device, by their definitions in the PTX ISA. Memory
// is read and written here, in code that the sanitizers see, by the thread that the device's rules
// charge with the access.
#pragma once

#include "cuda/emulate/device.h"
#include "tensor/dtype.h"

namespace ito::emulate {

struct [[gnu::may_alias]] alignas(16) Words {
  std::uint32_t at[4];
};

// Ends the program unless p is a multiple of 16 and lies in shared memory.
void check_shared_16(const void* p, const char* instruction, const Where& where);
void check_global_16(const void* p, const char* instruction, const Where& where);

// A thread's copies under way: 16 bytes read from global memory, on their way to `shared`.
void start_copy(void* shared, const Words& data);
void commit_copies();
// Takes the oldest copy of the groups that are not among the newest `pending`; false: none is left.
bool finish_copy(int pending, void** shared, Words* data);

}  // namespace ito::emulate

namespace ito::cuda::ptx {

using emulate::Where;

inline bf16 to_bf16(float x) { return bf16(x); }
inline std::uint32_t pack_bf16(float low, float high) {
  return std::uint32_t{bf16(low).bits} | std::uint32_t{bf16(high).bits} << 16;
}

/// The destination holds NaN until cp_async_wait.
inline void cp_async_16(void* shared, const void* global, bool valid = true,
                        const Where& where = Where::current()) {
  emulate::check_shared_16(shared, "cp.async", where);
  emulate::Words data{};
  if (valid) {
    emulate::check_global_16(global, "cp.async", where);
    data = *static_cast<const emulate::Words*>(global);
  }
  *static_cast<emulate::Words*>(shared) = {{~0u, ~0u, ~0u, ~0u}};
  emulate::start_copy(shared, data);
}
inline void cp_async_16_cached(void* shared, const void* global, bool valid = true,
                               const Where& where = Where::current()) {
  cp_async_16(shared, global, valid, where);
}
inline void cp_async_commit() { emulate::commit_copies(); }
template <int pending>
void cp_async_wait() {
  void* shared;
  emulate::Words data;
  while (emulate::finish_copy(pending, &shared, &data))
    *static_cast<emulate::Words*>(shared) = data;
}

inline void ldmatrix(std::uint32_t (&r)[4], const void* row, bool transposed, const Where& where) {
  emulate::check_shared_16(row, "ldmatrix", where);
  emulate::Words data = *static_cast<const emulate::Words*>(row);
  emulate::Rendezvous m{emulate::WarpOp::ldmatrix, ~0u, transposed, sizeof(data), &data};
  emulate::rendezvous(m, where);
  for (int i = 0; i < 4; ++i) r[i] = data.at[i];
}
inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row,
                        const Where& where = Where::current()) {
  ldmatrix(r, row, false, where);
}
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row,
                              const Where& where = Where::current()) {
  ldmatrix(r, row, true, where);
}

inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                         std::uint32_t b1, const Where& where = Where::current()) {
  const std::uint32_t b[2] = {b0, b1};
  emulate::Rendezvous m{emulate::WarpOp::mma, ~0u, 0, 0, d};
  m.a = a;
  m.b = b;
  emulate::rendezvous(m, where);
}

}  // namespace ito::cuda::ptx
