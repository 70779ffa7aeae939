// Rows by index.
//
// Gather is bound by memory: each row of the result is read and written once, in units of up to 16
// bytes. ScatterAdd is its transpose without atomics: a warp owns 32 columns of one row of the
// result and looks through all ids for those that name its row, 32 at a time, so each element is
// added up in the order of i. That reads the ids once per warp (from the caches): right for the
// tables of these networks, of up to some thousand rows.
#include <bit>
#include <cstring>
#include <limits>

#include "cuda/index.h"
#include "cuda/reduce.h"
#include "tensor/kernels/indexing.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;

// `width` counts units of U; `absent` stands in rows whose index is out of range.
template <class U>
__global__ void gather(const U* table, const std::int64_t* ids, U* y, std::int64_t n,
                       FastDivmod width, std::int64_t rows, U absent) {
  for (std::int64_t i : grid_stride(n * width.divisor)) {
    const std::int64_t row = width.quotient(i), id = ids[row];
    const bool known = id >= 0 && id < rows;
    y[i] = known ? table[id * width.divisor + (i - row * width.divisor)] : absent;
  }
}

template <class U>
void gather_units(const Gather::Args& a, std::int64_t bytes) {
  U absent;
  std::memset(&absent, is_floating(a.dtype) ? 0xff : 0, sizeof(U));  // all bits set: NaN
  const std::int64_t width = bytes / static_cast<std::int64_t>(sizeof(U));
  cuda::launch(gather<U>, blocks_for(a.n * width, threads), threads, 0,
               static_cast<const U*>(a.table), static_cast<const std::int64_t*>(a.ids),
               static_cast<U*>(a.y), a.n, FastDivmod(width), a.rows, absent);
}

// Warp (row, strip of columns): y[row, columns] = sum of x[i, columns] with ids[i] = row, in order.
template <class T>
__global__ void scatter_add(const T* x, const std::int64_t* ids, T* y, std::int64_t n,
                            std::int64_t width, std::int64_t rows, FastDivmod strips) {
  const std::int64_t warp = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  const std::int64_t row = strips.quotient(warp);
  if (row >= rows) return;
  const auto lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t column = (warp - row * strips.divisor) * 32 + lane;
  float total = 0.0f;
  for (std::int64_t first = 0; first < n; first += 32) {
    const bool mine = first + lane < n && ids[first + lane] == row;
    unsigned found = __ballot_sync(full_warp, mine);
    for (; found != 0; found &= found - 1) {
      const std::int64_t i = first + __ffs(static_cast<int>(found)) - 1;
      if (column < width) total += to_float(x[i * width + column]);
    }
  }
  if (column < width) y[row * width + column] = from_float<T>(total);
}

template <class T>
__global__ void one_hot(const std::int64_t* ids, T* y, std::int64_t n, FastDivmod classes) {
  for (std::int64_t i : grid_stride(n * classes.divisor)) {
    const std::int64_t row = classes.quotient(i), id = ids[row];
    const bool known = id >= 0 && id < classes.divisor;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    y[i] = from_float<T>(!known ? nan : id == i - row * classes.divisor ? 1.0f : 0.0f);
  }
}

}  // namespace

void Gather::cuda(const Args& a) {
  const std::int64_t bytes = a.width * static_cast<std::int64_t>(size_of(a.dtype));
  if (a.n == 0 || bytes == 0) return;
  const auto bits = reinterpret_cast<std::uintptr_t>(a.table) |
                    reinterpret_cast<std::uintptr_t>(a.y) | static_cast<std::uintptr_t>(bytes);
  switch (std::countr_zero(bits)) {
    case 0:
      return gather_units<std::uint8_t>(a, bytes);
    case 1:
      return gather_units<std::uint16_t>(a, bytes);
    case 2:
      return gather_units<std::uint32_t>(a, bytes);
    case 3:
      return gather_units<std::uint64_t>(a, bytes);
    default:
      return gather_units<Vec<std::uint64_t, 2>>(a, bytes);
  }
}

void ScatterAdd::cuda(const Args& a) {
  if (a.rows == 0 || a.width == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    const std::int64_t strips = (a.width + 31) / 32;
    cuda::launch(scatter_add<T>, blocks_for(a.rows * strips * 32, threads, 1LL << 31), threads, 0,
                 static_cast<const T*>(a.x), static_cast<const std::int64_t*>(a.ids),
                 static_cast<T*>(a.y), a.n, a.width, a.rows, FastDivmod(strips));
  });
}

void OneHot::cuda(const Args& a) {
  if (a.n == 0 || a.classes == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    cuda::launch(one_hot<T>, blocks_for(a.n * a.classes, threads), threads, 0,
                 static_cast<const std::int64_t*>(a.ids), static_cast<T*>(a.y), a.n,
                 FastDivmod(a.classes));
  });
}

}  // namespace ito::kernel
