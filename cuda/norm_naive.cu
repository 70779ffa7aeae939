// Group norm, first rung: one block per image and group, one element per thread and turn.
//
// x is read three times forward (mean, variance, result) and x and dy twice each backward. A group
// of 4 channels in bf16 is 8 bytes of each position, while memory moves 32: three quarters of what
// is read belongs to other blocks' groups. Any shape fits: the rung that checks the others.
#include "cuda/norm.h"
#include "cuda/norm_arrays.h"
#include "tensor/math.h"

namespace ito::cuda::norm {
namespace {

constexpr int threads = 128, warps = threads / 32;

/// One group of one image: its element i of `count` has channel(i).
struct Group {
  const Shape& s;
  Index image, width, first, count;
  __device__ Group(const Shape& shape, Index block)
      : s(shape),
        image(block / s.groups),
        width(s.channels / s.groups),
        first(block % s.groups * width),
        count(s.positions * width) {}
  __device__ Index channel(Index i) const { return first + i % width; }
  template <class T>
  __device__ T& at(const Channels<T>& array, Index i) const {
    const auto column = array.column(s, image, channel(i));
    return column.at[i / width * column.stride];
  }
};

/// The block's sum of f(i) for i in 0 .. count - 1.
template <class F>
__device__ float block_sum(Index count, float* scratch, F f) {
  float sum = 0.0f;
  for (Index i = threadIdx.x; i < count; i += threads) sum += f(i);
  __syncthreads();  // scratch may still be read from the last sum
  return block_reduce(sum, scratch);
}

template <class T>
__global__ void forward(Channels<const T> x, const T* weight, const T* bias, Channels<T> y,
                        float* statistics, Shape s, float eps, bool silu) {
  ITO_SHARED(float, scratch, [warps]);
  const Group g(s, blockIdx.x);
  const float count = static_cast<float>(g.count);
  const float mean =
      block_sum(g.count, scratch, [&](Index i) { return to_float(g.at(x, i)); }) / count;
  const float variance = block_sum(g.count, scratch,
                                   [&](Index i) {
                                     const float d = to_float(g.at(x, i)) - mean;
                                     return d * d;
                                   }) /
                         count;
  const float rstd = 1.0f / sqrtf(variance + eps);
  for (Index i = threadIdx.x; i < g.count; i += threads) {
    const Index c = g.channel(i);
    const float xh = (to_float(g.at(x, i)) - mean) * rstd;
    const float z = xh * to_float(weight[c]) + to_float(bias[c]);
    g.at(y, i) = from_float<T>(silu ? z / (1.0f + expf(-z)) : z);
  }
  if (threadIdx.x == 0) {
    statistics[2 * blockIdx.x] = mean;
    statistics[2 * blockIdx.x + 1] = rstd;
  }
}

/// xh and dz of one element.
struct Point {
  float xh, dz;
};
template <class T>
__device__ Point point(T x, T dy, T weight, T bias, float mean, float rstd, bool silu) {
  const float xh = (to_float(x) - mean) * rstd;
  float dz = to_float(dy);
  if (silu) {
    const float z = xh * to_float(weight) + to_float(bias);
    const float sigma = 1.0f / (1.0f + expf(-z));
    dz *= sigma * (1.0f + z * (1.0f - sigma));
  }
  return {xh, dz};
}

template <class T>
__global__ void gradient(Channels<const T> x, Channels<const T> dy, const T* weight, const T* bias,
                         const float* statistics, Channels<T> dx, float* partial, Shape s,
                         bool silu) {
  ITO_SHARED(float, scratch, [warps]);
  const Group g(s, blockIdx.x);
  const float mean = statistics[2 * blockIdx.x], rstd = statistics[2 * blockIdx.x + 1];
  const auto at = [&](Index i) {
    const Index c = g.channel(i);
    return point(g.at(x, i), g.at(dy, i), weight[c], bias[c], mean, rstd, silu);
  };
  float* const image = partial + blockIdx.x / s.groups * 2 * s.channels;
  float total = 0.0f, total_xh = 0.0f;
  for (Index j = 0; j < g.width; ++j) {  // channel by channel: dbias and dweight need these sums
    const float sum =
        block_sum(s.positions, scratch, [&](Index p) { return at(p * g.width + j).dz; });
    const float sum_xh = block_sum(s.positions, scratch, [&](Index p) {
      const Point q = at(p * g.width + j);
      return q.dz * q.xh;
    });
    total += sum * to_float(weight[g.first + j]);
    total_xh += sum_xh * to_float(weight[g.first + j]);
    if (threadIdx.x == 0) {
      image[g.first + j] = sum;
      image[s.channels + g.first + j] = sum_xh;
    }
  }
  const float count = static_cast<float>(g.count);
  for (Index i = threadIdx.x; i < g.count; i += threads) {
    const Point q = at(i);
    const float own = q.dz * to_float(weight[g.channel(i)]);
    g.at(dx, i) = from_float<T>(rstd * (own - total / count - q.xh * total_xh / count));
  }
}

// dbias and dweight. A block adds 32 neighbouring sums over all images: `parts` threads for each, a
// run of images per thread, then the parts in order.
constexpr int parts = 8;

template <class T>
__global__ void add(const float* partial, T* dbias, T* dweight, Index n, Index channels) {
  ITO_SHARED(float, share, [parts][32]);
  const int lane = static_cast<int>(threadIdx.x % 32), part = static_cast<int>(threadIdx.x / 32);
  const Index j = Index{blockIdx.x} * 32 + lane, run = ceil_div(n, parts);
  float sum = 0.0f;
  if (j < 2 * channels) {
    const Index end = std::min(n, (part + 1) * run);
#pragma unroll 4
    for (Index i = part * run; i < end; ++i) sum += partial[i * 2 * channels + j];
  }
  share[part][lane] = sum;
  __syncthreads();
  if (part != 0 || j >= 2 * channels) return;
  for (int p = 1; p < parts; ++p) sum += share[p][lane];
  (j < channels ? dbias[j] : dweight[j - channels]) = from_float<T>(sum);
}

unsigned blocks_of(const Shape& s) { return static_cast<unsigned>(s.n * s.groups); }

}  // namespace

void naive(const Forward& a) {
  with_element("group_norm", a.dtype, [&]<class T>(T) {
    const Channels<const T> x{static_cast<const T*>(a.x), static_cast<const T*>(a.x2),
                              a.shape.x2_channels};
    launch(forward<T>, blocks_of(a.shape), threads, 0, x, static_cast<const T*>(a.weight),
           static_cast<const T*>(a.bias), Channels<T>{static_cast<T*>(a.y)},
           static_cast<float*>(a.statistics), a.shape, static_cast<float>(a.eps), a.silu);
  });
}

void naive(const Gradient& a) {
  with_element("group_norm_grad", a.dtype, [&]<class T>(T) {
    const Channels<const T> x{static_cast<const T*>(a.x), static_cast<const T*>(a.x2),
                              a.shape.x2_channels};
    const Channels<T> dx{static_cast<T*>(a.dx), static_cast<T*>(a.dx2), a.shape.x2_channels};
    launch(gradient<T>, blocks_of(a.shape), threads, 0, x,
           Channels<const T>{static_cast<const T*>(a.dy)}, static_cast<const T*>(a.weight),
           static_cast<const T*>(a.bias), static_cast<const float*>(a.statistics), dx,
           static_cast<float*>(a.partial), a.shape, a.silu);
  });
  add_images(a);
}

void add_images(const Gradient& a) {
  with_element("group_norm_grad", a.dtype, [&]<class T>(T) {
    const Index sums = 2 * a.shape.channels;
    launch(add<T>, static_cast<unsigned>((sums + 31) / 32), 32 * parts, 0,
           static_cast<const float*>(a.partial), static_cast<T*>(a.dbias),
           static_cast<T*>(a.dweight), a.shape.n, a.shape.channels);
  });
}

}  // namespace ito::cuda::norm
