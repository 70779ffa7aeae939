// For allocators that hand out the same memory again and again: tells the emulated device which
// part of a block of cudaMalloc somebody owns, in the order of the stream. Kernels that touch the
// rest, or read what the owner before left there, are found. On a GPU these functions do nothing.
#pragma once

#include <cstddef>

struct CUstream_st;

namespace ito::emulate {

#if defined(__CUDACC__)
inline void piece_taken(void*, std::size_t, CUstream_st*) {}
inline void piece_freed(void*, std::size_t, CUstream_st*) {}
#else
/// `p` .. `p + bytes` has an owner from now on. The piece must not overlap others.
void piece_taken(void* p, std::size_t bytes, CUstream_st* stream);
/// It has none any more: its content becomes NaN.
void piece_freed(void* p, std::size_t bytes, CUstream_st* stream);
#endif

}  // namespace ito::emulate
