// Group norm's gradient, second and third rung: a block takes all positions of a few channels.
//
// streaming: x and dy are read twice and dx written. slab: x and dy are copied to shared memory
// once; the first pass leaves dz in dy's place, so that the second needs no sigmoid: 4 bytes read
// and 2 written per element in bf16, the least there is. About 30 instructions per element (bf16),
// 96 registers, 16 KiB of shared memory beside the two slabs.
#include "cuda/norm.h"
#include "cuda/norm_slab.h"

namespace ito::cuda::norm {
namespace {

template <class T>
struct Arrays {
  Channels<const T> x;
  Channels<const T> dy;
  const T *weight, *bias;
  const float* statistics;
  Channels<T> dx;
  float* partial;
};

/// What the channels of a slab have in common, in shared memory: one float per channel each.
struct ChannelValues {
  float *mean, *rstd, *weight, *bias, *sum, *sum_xh;
  static constexpr int count = 6;
  __device__ ChannelValues(float* at, int width)
      : mean(at),
        rstd(at + width),
        weight(at + 2 * width),
        bias(at + 3 * width),
        sum(at + 4 * width),
        sum_xh(at + 5 * width) {}
};

template <class T, int N>
__device__ void load_channels(const ChannelValues& values, const Arrays<T>& a,
                              const Place<N>& place, const Shape& s) {
  const int group = static_cast<int>(s.channels / s.groups);
  const float* const statistics = a.statistics + 2 * place.image * s.groups;
  for (int c = static_cast<int>(threadIdx.x); c < place.width; c += static_cast<int>(blockDim.x)) {
    const int channel = place.first + c;
    values.mean[c] = statistics[2 * (channel / group)];
    values.rstd[c] = statistics[2 * (channel / group) + 1];
    values.weight[c] = to_float(a.weight[channel]);
    values.bias[c] = to_float(a.bias[channel]);
  }
  __syncthreads();
}

/// Per channel, the sums of dz and dz xh: this image's share of dbias and dweight, and, times
/// weight, left in `values`. keep(v, dz) is called with the dz of each vector.
template <class T, int N, class Load, class Keep>
__device__ void find_sums(float* shared, const ChannelValues& values, float* partial,
                          const Place<N>& place, const Shape& s, bool silu, Load load, Keep keep) {
  float mean[N], rstd[N], weight[N], bias[N], sums[2][N] = {};
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int c = place.column * N + i;
    mean[i] = values.mean[c];
    rstd[i] = values.rstd[c];
    weight[i] = values.weight[c];
    bias[i] = values.bias[c];
  }
  place.for_positions(s, [&](int p, int v) {
    const auto [x, dy] = load(p, v);
    float dz[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float xh = (to_float(x[i]) - mean[i]) * rstd[i];
      dz[i] = to_float(dy[i]);
      if (silu) dz[i] *= silu_slope<T>(xh * weight[i] + bias[i]);
      sums[0][i] += dz[i];
      sums[1][i] += dz[i] * xh;
    }
    keep(v, dz);
  });
  sum_runs(sums, shared, place, 1, [&](int c, const float(&total)[2]) {
    if (threadIdx.x % 32 != 0) return;
    partial[place.first + c] = total[0];
    partial[s.channels + place.first + c] = total[1];
    values.sum[c] = total[0] * values.weight[c];
    values.sum_xh[c] = total[1] * values.weight[c];
  });
}

/// Replaces `sum` and `sum_xh` of every channel by its group's share in
///   dx = rstd weight dz - sum - (x - mean) sum_xh
template <int N>
__device__ void spread_sums(const ChannelValues& values, const Place<N>& place, const Shape& s) {
  const int group = static_cast<int>(s.channels / s.groups);
  const int lane = static_cast<int>(threadIdx.x % 32), warps = static_cast<int>(blockDim.x / 32);
  const float count = static_cast<float>(s.positions) * static_cast<float>(group);
  for (int g = static_cast<int>(threadIdx.x / 32); g * group < place.width; g += warps) {
    float total = 0.0f, total_xh = 0.0f;
    for (int c = g * group + lane; c < (g + 1) * group; c += 32) {
      total += values.sum[c];
      total_xh += values.sum_xh[c];
    }
    const float rstd = values.rstd[g * group];
    total = rstd * warp_reduce(total) / count;
    total_xh = rstd * rstd * warp_reduce(total_xh) / count;
    __syncwarp();
    for (int c = g * group + lane; c < (g + 1) * group; c += 32) {
      values.sum[c] = total;
      values.sum_xh[c] = total_xh;
    }
  }
  __syncthreads();
}

template <class V>
struct Pair {
  V x, dy;
};

template <class T, int N, bool kept>
__global__ void __launch_bounds__(max_threads)
    gradient(Arrays<T> a, Shape s, int width, int slabs, bool silu) {
  using V = Vec<T, N>;
  ITO_DYNAMIC_SHARED(float, shared);  // sums [2][N][threads], channels' values, slabs of x and dy
  const Place<N> place(s, width, slabs);
  float* const behind = shared + 2 * N * blockDim.x;
  const ChannelValues values(behind, width);
  V* const slab_x = reinterpret_cast<V*>(behind + ChannelValues::count * width);
  V* const slab_dy = slab_x + s.positions * (width / N);

  const auto x = a.x.column(s, place.image, place.channel());
  const auto dy = a.dy.column(s, place.image, place.channel());
  if constexpr (kept) {
    copy_slab(slab_x, x, place, s);
    copy_slab(slab_dy, dy, place, s);
  }
  load_channels(values, a, place, s);
  if constexpr (kept) ptx::cp_async_wait<0>();
  const auto load = [&](int p, int v) {
    return kept ? Pair<V>{slab_x[v], slab_dy[v]}
                : Pair<V>{*reinterpret_cast<const V*>(x.at + p * x.stride),
                          *reinterpret_cast<const V*>(dy.at + p * dy.stride)};
  };
  const auto keep = [&](int v, const float(&dz)[N]) {
    if constexpr (kept) {
      if (!silu) return;
      V to;
#pragma unroll
      for (int i = 0; i < N; ++i) to[i] = from_float<T>(dz[i]);
      slab_dy[v] = to;
    }
  };
  find_sums<T>(shared, values, a.partial + place.image * 2 * s.channels, place, s, silu, load,
               keep);
  spread_sums(values, place, s);

  const auto dx = a.dx.column(s, place.image, place.channel());
  float centre[N], scale[N], shift[N], slope[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int c = place.column * N + i;
    centre[i] = values.mean[c];
    scale[i] = values.rstd[c] * values.weight[c];
    shift[i] = values.sum[c];
    slope[i] = values.sum_xh[c];
  }
  place.for_positions(s, [&](int p, int v) {
    const auto [from, from_dy] = load(p, v);
    V to;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float d = to_float(from[i]) - centre[i];
      float dz = to_float(from_dy[i]);
      if (!kept && silu) dz *= silu_slope<T>(d * scale[i] + values.bias[place.column * N + i]);
      to[i] = from_float<T>(scale[i] * dz - shift[i] - d * slope[i]);
    }
    *reinterpret_cast<V*>(dx.at + p * dx.stride) = to;
  });
}

template <class T>
int vector_of(const Gradient& a) {
  return vector_for<T>(a.shape, a.x, a.x2, a.dy, a.dx, a.dx2);
}

std::size_t shared_bytes(const Tiling& tiling, int vector, bool kept) {
  const std::size_t floats = static_cast<std::size_t>(2 * vector * tiling.threads) +
                             ChannelValues::count * static_cast<std::size_t>(tiling.width);
  return floats * sizeof(float) + (kept ? 2 * tiling.bytes : 0);
}

/// f(Tiling, vector width) for the arguments' type.
template <bool kept, class F>
auto with_tiling(const Gradient& a, F f) {
  const int vector = a.dtype == DType::bf16 ? vector_of<bf16>(a) : vector_of<float>(a);
  return f(tiling_for(a.shape, vector, static_cast<int>(size_of(a.dtype)), kept ? 2 : 0), vector);
}

template <bool kept>
void run(const Gradient& a) {
  with_element("group_norm_grad", a.dtype, [&]<class T>(T) {
    const int vector = vector_of<T>(a);
    const Tiling tiling = tiling_for(a.shape, vector, sizeof(T), kept ? 2 : 0);
    const Arrays<T> arrays{
        {static_cast<const T*>(a.x), static_cast<const T*>(a.x2), a.shape.x2_channels},
        {static_cast<const T*>(a.dy)},
        static_cast<const T*>(a.weight),
        static_cast<const T*>(a.bias),
        static_cast<const float*>(a.statistics),
        {static_cast<T*>(a.dx), static_cast<T*>(a.dx2), a.shape.x2_channels},
        static_cast<float*>(a.partial)};
    launch(vector == 1 ? gradient<T, 1, kept> : gradient<T, Vec<T>::size, kept>,
           static_cast<unsigned>(a.shape.n * tiling.slabs), tiling.threads,
           shared_bytes(tiling, vector, kept), arrays, a.shape, tiling.width,
           static_cast<int>(tiling.slabs), a.silu);
  });
  add_images(a);
}

}  // namespace

bool can_use_streaming(const Gradient& a) {
  return with_tiling<false>(a, [](const Tiling& tiling, int) { return tiling.width != 0; });
}

bool can_use_slab(const Gradient& a) {
  return with_tiling<true>(a, [](const Tiling& tiling, int vector) {
    return tiling.width != 0 &&
           shared_bytes(tiling, vector, true) <= properties().shared_memory_per_block;
  });
}

void streaming(const Gradient& a) { run<false>(a); }
void slab(const Gradient& a) { run<true>(a); }

}  // namespace ito::cuda::norm
