// The small kernels around the products of convolution, and the choice of tiles. All of them only
// move memory: weights once (2 bytes read and written per bf16 weight), split sums once written and
// once read.
#include <algorithm>
#include <string>

#include "cuda/conv_pack.h"
#include "tensor/error.h"
#include "tensor/kernels/index.h"
#include "tensor/math.h"

namespace ito::cuda::conv {
namespace {

using kernel::ConvShape;
using kernel::Index;

constexpr int threads = 256;

/// y [rows, padded] = x [rows, channels], x2 [rows, channels2] and zeros side by side; one thread
/// for 8 channels.
__global__ void pad_channels(const bf16* x, int channels, const bf16* x2, int channels2, bf16* y,
                             Index rows, int padded) {
  const int vectors = padded / 8;
  for (Index i : grid_stride(rows * vectors)) {
    const Index row = i / vectors;
    const int first = static_cast<int>(i - row * vectors) * 8;
    Vec<bf16, 8> v;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int channel = first + j;
      if (channel < channels) {
        v[j] = x[row * channels + channel];
      } else if (channel < channels + channels2) {
        v[j] = x2[row * channels2 + channel - channels];
      } else {
        v[j] = from_float<bf16>(0.0f);
      }
    }
    *reinterpret_cast<Vec<bf16, 8>*>(y + row * padded + first) = v;
  }
}

/// Of the rows (or columns) r of a kernel, the number of those with r % stride < phase.
__device__ int taps_before(int phase, int size, int stride) {
  int count = 0;
  for (int a = 0; a < phase; ++a) count += kernel::taps_of_phase(a, size, stride);
  return count;
}

constexpr int side = 32, lines = 8;  // a block turns side x side weights with side x lines threads

/// One block: one tap, `side` output by `side` input channels, transposed through shared memory so
/// that both sides move whole sectors.
template <class T>
__global__ void pack_flipped_kernel(const T* weight, T* packed, int out, int kh, int kw, int in,
                                    int stride, int channels) {
  ITO_SHARED(T, tile, [side][side + 1]);
  const int tiles_in = ceil_div(in, side);
  const int o0 = static_cast<int>(blockIdx.x) / tiles_in * side;
  const int i0 = static_cast<int>(blockIdx.x) % tiles_in * side;
  const int r = static_cast<int>(blockIdx.y) / kw, s = static_cast<int>(blockIdx.y) % kw;
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  for (int j = y; j < side; j += lines) {
    const int o = o0 + j, i = i0 + x;
    const bool there = o < out && i < in;
    tile[j][x] = there ? weight[((Index{o} * kh + r) * kw + s) * in + i] : from_float<T>(0.0f);
  }
  __syncthreads();
  const int a = r % stride, b = s % stride;
  const int rows = kernel::taps_of_phase(a, kh, stride);
  const int columns = kernel::taps_of_phase(b, kw, stride);
  const Index before =
      Index{taps_before(a, kh, stride)} * kw + Index{rows} * taps_before(b, kw, stride);
  const int tap = (rows - 1 - r / stride) * columns + columns - 1 - s / stride;
  T* to = packed + before * in * channels + Index{tap} * channels;
  for (int j = y; j < side; j += lines) {
    const int i = i0 + j, o = o0 + x;
    if (i < in && o < channels) to[Index{i} * rows * columns * channels + o] = tile[x][j];
  }
}

template <class T, int N>
__global__ void add_splits_kernel(Correlation c, int splits, bool vectors) {
  const int per_row = ceil_div(c.out, N);
  const Index step = Index{c.pixels} * c.out;
  for (Index i : grid_stride(Index{c.pixels} * per_row)) {
    const int m = static_cast<int>(i / per_row);
    const int o = static_cast<int>(i - Index{m} * per_row) * N;
    const float* from = c.partial + Index{m} * c.out + o;
    float sum[N] = {};
    if (c.out % N == 0) {
#pragma unroll 4
      for (int split = 0; split < splits; ++split) {
        const Vec<float, 4> v = *reinterpret_cast<const Vec<float, 4>*>(from + split * step);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += v[j];
      }
    } else {
      for (int split = 0; split < splits; ++split) {
#pragma unroll
        for (int j = 0; j < N; ++j) {
          if (o + j < c.out) sum[j] += from[split * step + j];
        }
      }
    }
    store_result<T, N>(c, m, o, sum, vectors);
  }
}

/// One thread: N neighbouring weights.
template <class T, int N>
__global__ void add_weight_splits_kernel(const float* partial, int splits, Index rows, int in,
                                         int channels, T* dweight) {
  const int per_row = in / N;
  const Index step = rows * channels;
  for (Index i : grid_stride(rows * per_row)) {
    const Index row = i / per_row;
    const int first = static_cast<int>(i - row * per_row) * N;
    const float* from = partial + row * channels + first;
    Vec<float, N> sum{};
#pragma unroll 8
    for (int split = 0; split < splits; ++split) {
      const Vec<float, N> v = *reinterpret_cast<const Vec<float, N>*>(from + split * step);
#pragma unroll
      for (int j = 0; j < N; ++j) sum[j] += v[j];
    }
    Vec<T, N> result;
#pragma unroll
    for (int j = 0; j < N; ++j) result[j] = from_float<T>(sum[j]);
    *reinterpret_cast<Vec<T, N>*>(dweight + row * in + first) = result;
  }
}

int narrow(Index i) { return static_cast<int>(i); }

}  // namespace

bool can_use_tiles(const ConvShape& s) {
  constexpr Index limit = Index{1} << 30;
  const Index channels = std::max(s.in, s.out) + 8;
  return s.n * s.h * s.w * s.in > 0 && s.n * s.p * s.q * s.out > 0 && s.kh <= 15 && s.kw <= 15 &&
         s.kh * s.kw > 0 && s.n * s.h * s.w < limit && s.n * s.p * s.q < limit &&
         s.kh * s.kw * channels < limit && s.h + s.kh + s.top < limit / 2 && s.stride < 1 << 16;
}

PaddedChannels::PaddedChannels(const void* data, Index rows, Index channels, const void* data2,
                               Index channels2)
    : source_{{data, narrow(channels)}, {data2, narrow(channels2)}} {
  const auto ready = [](const Source& x) {
    return x.channels % 8 == 0 && is_aligned<Vec<bf16, 8>>(x.data);
  };
  if (ready(source_[0]) && ready(source_[1])) return;
  const int padded = narrow((channels + channels2 + 7) / 8 * 8);
  copy_.emplace(rows * padded);
  launch(pad_channels, blocks_for(rows * padded / 8, threads), threads, 0,
         static_cast<const bf16*>(data), narrow(channels), static_cast<const bf16*>(data2),
         narrow(channels2), copy_->data(), rows, padded);
  source_[0] = {copy_->data(), padded};
  source_[1] = {};
}

Correlation forward_problem(const kernel::Conv2d::Args& a) {
  const ConvShape& s = a.shape;
  Correlation c;
  c.x[0] = {a.x, narrow(s.in - a.x2_channels)};
  c.x[1] = {a.x2, narrow(a.x2_channels)};
  c.h = narrow(s.h), c.w = narrow(s.w), c.in = narrow(s.in);
  c.kh = narrow(s.kh), c.kw = narrow(s.kw), c.stride = narrow(s.stride);
  c.top = narrow(s.top), c.left = narrow(s.left);
  c.weight = a.weight;
  c.images = narrow(s.n), c.pixels = narrow(s.n * s.p * s.q), c.p = narrow(s.p), c.q = narrow(s.q),
  c.out = narrow(s.out);
  c.per_image = FastDivmod32(s.p * s.q), c.per_row = FastDivmod32(s.q);
  c.y = a.y, c.bias = a.bias, c.addend = a.addend, c.addend_per_image = a.addend_per_image;
  c.pixel_step = s.out, c.row_step = s.q * s.out, c.image_step = s.p * s.q * s.out;
  return c;
}

std::vector<Correlation> input_grad_problems(const kernel::Conv2dInputGrad::Args& args,
                                             const void* dy, const void* packed, int channels) {
  const ConvShape& s = args.shape;
  const Index size = size_of(args.dtype);
  std::vector<Correlation> problems;
  Index taken = 0;  // taps of the phases before
  for (Index a = 0; a < s.stride; ++a) {
    const auto rows = kernel::input_grad_phase(a, s.h, s.kh, s.top, s.stride);
    for (Index b = 0; b < s.stride; ++b) {
      const auto columns = kernel::input_grad_phase(b, s.w, s.kw, s.left, s.stride);
      Correlation c;
      c.x[0] = {dy, channels};
      c.h = narrow(s.p), c.w = narrow(s.q), c.in = channels;
      c.kh = narrow(columns.taps == 0 ? 0 : rows.taps);
      c.kw = narrow(std::max<Index>(columns.taps, 1));
      c.top = narrow(rows.pad), c.left = narrow(columns.pad);
      c.weight = static_cast<const char*>(packed) + taken * s.in * channels * size;
      taken += rows.taps * columns.taps;
      c.p = narrow(rows.count), c.q = narrow(columns.count);
      c.images = narrow(s.n), c.pixels = narrow(s.n) * c.p * c.q, c.out = narrow(s.in);
      if (c.pixels == 0) continue;
      c.per_image = FastDivmod32(Index{c.p} * c.q), c.per_row = FastDivmod32(c.q);
      c.y = static_cast<char*>(args.dx) + (rows.first * s.w + columns.first) * s.in * size;
      c.bias = args.bias;
      c.image_step = s.h * s.w * s.in, c.row_step = s.stride * s.w * s.in;
      c.pixel_step = s.stride * s.in;
      problems.push_back(c);
    }
  }
  return problems;
}

template <class T>
void pack_flipped(const T* weight, const ConvShape& s, int channels, T* packed) {
  const Index tiles = ceil_div(channels, side) * ceil_div(s.in, side);
  launch(pack_flipped_kernel<T>,
         dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(s.kh * s.kw)), dim3(side, lines),
         0, weight, packed, narrow(s.out), narrow(s.kh), narrow(s.kw), narrow(s.in),
         narrow(s.stride), channels);
}
template void pack_flipped(const float*, const ConvShape&, int, float*);
template void pack_flipped(const bf16*, const ConvShape&, int, bf16*);

template <class T>
void add_splits(const Correlation& c, int splits) {
  const Index vectors = Index{c.pixels} * ((c.out + 3) / 4);
  launch(add_splits_kernel<T, 4>, blocks_for(vectors, threads), threads, 0, c, splits,
         can_use_vectors<T>(c, 4));
}
template void add_splits<float>(const Correlation&, int);
template void add_splits<bf16>(const Correlation&, int);

template <class T>
void add_weight_splits(const float* partial, int splits, const ConvShape& s, int channels,
                       T* dweight) {
  const Index rows = s.out * s.kh * s.kw;
  if (s.in % 4 == 0 && is_aligned<Vec<T, 4>>(dweight)) {
    launch(add_weight_splits_kernel<T, 4>, blocks_for(rows * s.in / 4, threads), threads, 0,
           partial, splits, rows, narrow(s.in), channels, dweight);
  } else {
    launch(add_weight_splits_kernel<T, 1>, blocks_for(rows * s.in, threads), threads, 0, partial,
           splits, rows, narrow(s.in), channels, dweight);
  }
}
template void add_weight_splits(const float*, int, const ConvShape&, int, float*);
template void add_weight_splits(const float*, int, const ConvShape&, int, bf16*);

// The model behind the choice, in microseconds: tiles are dealt to the multiprocessors, two at a
// time on each, where one alone leaves gaps; a tile multiplies m n and loads m + n per step of k,
// and has a few blocks of k as latency in front; sums of several splits are written and read once
// more by a kernel of its own. A ranking of choices, no forecast: the constants are counted, not
// measured.
Partition choose_partition(const Product& product, std::span<const Partition> tiles,
                           const Partition& requested) {
  constexpr double load_weight = 32.0, latency_blocks = 3.0, alone = 0.4;
  constexpr double reduction_latency = 2.0, bytes_per_microsecond = 4e6;
  const Index multiprocessors = properties().multiprocessors;
  const Index blocks = ceil_div(product.k, product.block_k);
  Partition best;
  double best_cost = 0.0;
  for (const Partition& tile : tiles) {
    if (requested.m != 0 && (requested.m != tile.m || requested.n != tile.n)) continue;
    const Index count = ceil_div(product.m, tile.m) * ceil_div(product.n, tile.n);
    const Index max_splits =
        std::clamp<Index>(6 * multiprocessors / count, 1, std::max<Index>(1, blocks / 4));
    const Index low = requested.splits != 0 ? requested.splits : 1;
    const Index high = requested.splits != 0 ? requested.splits : max_splits;
    const double block_cost =
        2.0 * product.block_k * (tile.m * tile.n + load_weight * (tile.m + tile.n)) / product.rate;
    for (Index splits = low; splits <= high; ++splits) {
      const Index rounds = ceil_div(count * splits, multiprocessors);
      const Index depth = ceil_div(blocks, splits);
      const double time = static_cast<double>(rounds) + (rounds % 2 == 1 ? alone : 0.0);
      double cost = time * (static_cast<double>(depth) + latency_blocks) * block_cost;
      if (splits > 1) {
        const double bytes = 8.0 * static_cast<double>(splits * product.m * product.n);
        cost += reduction_latency + bytes / bytes_per_microsecond;
      }
      if (best.m == 0 || cost < best_cost) {
        best = {tile.m, tile.n, narrow(splits)};
        best_cost = cost;
      }
    }
  }
  if (best.m == 0) {
    throw ValueError("conv2d: no kernel has tiles of " + std::to_string(requested.m) + " x " +
                     std::to_string(requested.n));
  }
  return best;
}

}  // namespace ito::cuda::conv
