// Group norm forward, second and third rung: a block takes all positions of a few channels.
//
// streaming: three reads of x and one write, but whole sectors of memory are used, and vectors of
// 16 bytes keep many bytes under way. slab: cp.async brings the slab into shared memory once, and
// all passes read it there: 2 bytes read and 2 written per element in bf16, the least there is.
// About 15 instructions per element (bf16), 54 registers, and 8 KiB of shared memory beside the
// slab.
#include "cuda/norm.h"
#include "cuda/norm_slab.h"

namespace ito::cuda::norm {
namespace {

template <class T>
struct Arrays {
  Channels<const T> x;
  const T *weight, *bias;
  Channels<T> y;
  float* statistics;
};

/// Mean and 1 / sqrt(variance + eps) of every channel's group, left in shared memory.
template <int N, class Load>
__device__ void find_statistics(float* partial, float* mean, float* rstd, float* statistics,
                                const Place<N>& place, const Shape& s, float eps, Load load) {
  const int group = static_cast<int>(s.channels / s.groups), lane = threadIdx.x % 32;
  const float count = static_cast<float>(s.positions) * static_cast<float>(group);
  const auto spread = [&](float* to, int g, float value) {
    for (int j = lane; j < group; j += 32) to[g * group + j] = value;
  };

  float sum[1][N] = {};
  place.for_positions(s, [&](int p, int v) {
    const auto x = load(p, v);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[0][i] += to_float(x[i]);
  });
  sum_runs(sum, partial, place, group,
           [&](int g, const float(&total)[1]) { spread(mean, g, total[0] / count); });

  float centre[N], squares[1][N] = {};
#pragma unroll
  for (int i = 0; i < N; ++i) centre[i] = mean[place.column * N + i];
  place.for_positions(s, [&](int p, int v) {
    const auto x = load(p, v);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float d = to_float(x[i]) - centre[i];
      squares[0][i] += d * d;
    }
  });
  float* const out = statistics + 2 * (place.image * s.groups + place.first / group);
  sum_runs(squares, partial, place, group, [&](int g, const float(&total)[1]) {
    const float inverse = 1.0f / sqrtf(total[0] / count + eps);
    spread(rstd, g, inverse);
    if (lane == 0) {
      out[2 * g] = mean[g * group];
      out[2 * g + 1] = inverse;
    }
  });
}

template <class T, int N, bool kept>
__global__ void __launch_bounds__(max_threads)
    forward(Arrays<T> a, Shape s, int width, int slabs, float eps, bool silu) {
  using V = Vec<T, N>;
  ITO_DYNAMIC_SHARED(float, partial);  // [N][threads], mean [width], rstd [width], slab
  float* const mean = partial + N * blockDim.x;
  float* const rstd = mean + width;
  V* const slab = reinterpret_cast<V*>(rstd + width);
  const Place<N> place(s, width, slabs);
  const auto x = a.x.column(s, place.image, place.channel());
  if constexpr (kept) {
    copy_slab(slab, x, place, s);
    ptx::cp_async_wait<0>();
  }
  const auto load = [&](int p, int v) {
    return kept ? slab[v] : *reinterpret_cast<const V*>(x.at + p * x.stride);
  };
  find_statistics(partial, mean, rstd, a.statistics, place, s, eps, load);

  float centre[N], scale[N], shift[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int c = place.column * N + i;
    centre[i] = mean[c];
    scale[i] = rstd[c] * to_float(a.weight[place.first + c]);
    shift[i] = to_float(a.bias[place.first + c]);
  }
  const auto y = a.y.column(s, place.image, place.channel());
  place.for_positions(s, [&](int p, int v) {
    const V from = load(p, v);
    float z[N];
#pragma unroll
    for (int i = 0; i < N; ++i) z[i] = (to_float(from[i]) - centre[i]) * scale[i] + shift[i];
    if (silu) {
#pragma unroll
      for (int i = 0; i < N; ++i) z[i] *= sigmoid<T>(z[i]);
    }
    V to;
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = from_float<T>(z[i]);
    *reinterpret_cast<V*>(y.at + p * y.stride) = to;
  });
}

template <class T>
int vector_of(const Forward& a) {
  return vector_for<T>(a.shape, a.x, a.x2, a.y);
}

std::size_t shared_bytes(const Tiling& tiling, int vector, bool kept) {
  const std::size_t floats = static_cast<std::size_t>(vector * tiling.threads) +
                             2 * static_cast<std::size_t>(tiling.width);
  return floats * sizeof(float) + (kept ? tiling.bytes : 0);
}

/// f(Tiling, vector width) for the arguments' type.
template <bool kept, class F>
auto with_tiling(const Forward& a, F f) {
  const int vector = a.dtype == DType::bf16 ? vector_of<bf16>(a) : vector_of<float>(a);
  return f(tiling_for(a.shape, vector, static_cast<int>(size_of(a.dtype)), kept ? 1 : 0), vector);
}

template <bool kept>
void run(const Forward& a) {
  with_element("group_norm", a.dtype, [&]<class T>(T) {
    const int vector = vector_of<T>(a);
    const Tiling tiling = tiling_for(a.shape, vector, sizeof(T), kept ? 1 : 0);
    const Arrays<T> arrays{
        {static_cast<const T*>(a.x), static_cast<const T*>(a.x2), a.shape.x2_channels},
        static_cast<const T*>(a.weight),
        static_cast<const T*>(a.bias),
        {static_cast<T*>(a.y)},
        static_cast<float*>(a.statistics)};
    launch(vector == 1 ? forward<T, 1, kept> : forward<T, Vec<T>::size, kept>,
           static_cast<unsigned>(a.shape.n * tiling.slabs), tiling.threads,
           shared_bytes(tiling, vector, kept), arrays, a.shape, tiling.width,
           static_cast<int>(tiling.slabs), static_cast<float>(a.eps), a.silu);
  });
}

}  // namespace

bool can_use_streaming(const Forward& a) {
  return with_tiling<false>(a, [](const Tiling& tiling, int) { return tiling.width != 0; });
}

bool can_use_slab(const Forward& a) {
  return with_tiling<true>(a, [](const Tiling& tiling, int vector) {
    return tiling.width != 0 &&
           shared_bytes(tiling, vector, true) <= properties().shared_memory_per_block;
  });
}

void streaming(const Forward& a) { run<false>(a); }
void slab(const Forward& a) { run<true>(a); }

}  // namespace ito::cuda::norm
