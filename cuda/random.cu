// Random numbers: one thread to a Philox block, with the formulas of the CPU (random_values.h).
// About 90 instructions to a normal number of f32 (counted in the PTX), 45 to a uniform one, and
// 4 bytes written once: arithmetic is the limit.
#include <string>

#include "cuda/index.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/random_values.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using cuda::FastDivmod;
using cuda::grid_stride;

__device__ PhiloxCounter block_of(const Random::Args& a, std::int64_t sample, std::int64_t block) {
  const std::uint64_t step =
      a.step_source == nullptr ? a.step : static_cast<std::uint64_t>(*a.step_source);
  return random_block(a.key, step, a.draw, a.first_sample + static_cast<std::uint64_t>(sample),
                      static_cast<std::uint64_t>(block));
}

__device__ float stored(float x, float) { return x; }
__device__ double stored(double x, double) { return x; }
__device__ bf16 stored(float x, bf16) { return cuda::from_float<bf16>(x); }

// T: the type the numbers are made in; Y: the type they are stored in. `whole`: rows are a multiple
// of a block and aligned, so that a block is stored as one vector.
template <class T, class Y, bool whole>
__global__ void fill_real(Random::Args a, FastDivmod blocks) {
  constexpr int width = random_width<T>;
  const bool normal = a.distribution == Distribution::normal;
  for (std::int64_t i : grid_stride(a.samples * blocks.divisor)) {
    const std::int64_t sample = blocks.quotient(i), block = i - sample * blocks.divisor;
    T out[width];
    random_values(block_of(a, sample, block), normal, out);
    Y* y = static_cast<Y*>(a.y) + sample * a.per_sample + block * width;
    if constexpr (whole) {
      cuda::Vec<Y, width> values;
      for (int k = 0; k < width; ++k) values[k] = stored(out[k], Y{});
      *reinterpret_cast<cuda::Vec<Y, width>*>(y) = values;
    } else {
      for (int k = 0; k < width; ++k) {
        if (block * width + k < a.per_sample) y[k] = stored(out[k], Y{});
      }
    }
  }
}

__global__ void fill_integer(Random::Args a, FastDivmod per_sample) {
  const auto range = static_cast<std::uint64_t>(a.high) - static_cast<std::uint64_t>(a.low);
  for (std::int64_t i : grid_stride(a.samples * a.per_sample)) {
    const std::int64_t sample = per_sample.quotient(i);
    const PhiloxCounter c = block_of(a, sample, i - sample * a.per_sample);
    static_cast<std::int64_t*>(a.y)[i] = random_integer(c, a.low, range);
  }
}

template <class T, class Y>
void launch_real(const Random::Args& a) {
  constexpr int width = random_width<T>;
  const std::int64_t blocks = ceil_div(a.per_sample, width);
  const bool whole = a.per_sample % width == 0 && cuda::is_aligned<cuda::Vec<Y, width>>(a.y);
  cuda::launch(whole ? fill_real<T, Y, true> : fill_real<T, Y, false>,
               cuda::blocks_for(a.samples * blocks, 256), 256, 0, a, FastDivmod(blocks));
}

}  // namespace

void Random::cuda(const Args& a) {
  const std::int64_t count = a.samples * a.per_sample;
  if (count == 0) return;
  if (a.distribution == Distribution::integer) {
    return cuda::launch(fill_integer, cuda::blocks_for(count, 256), 256, 0, a,
                        FastDivmod(a.per_sample));
  }
  switch (a.dtype) {
    case DType::f32:
      return launch_real<float, float>(a);
    case DType::bf16:
      return launch_real<float, bf16>(a);
    case DType::f64:
      return launch_real<double, double>(a);
    default:
      throw DTypeError("random: numbers are f32, f64 or bf16; got " +
                       std::string(name_of(a.dtype)));
  }
}

}  // namespace ito::kernel
