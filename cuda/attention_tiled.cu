// Attention, second rung: tiles of queries and keys in shared memory, in f32.
//
// A block owns `size` rows (queries; for dk and dv, keys) and walks the other side in tiles of
// `size` rows, so that each of them is read from memory once per block, not once per row: l / size
// times less traffic than the naive rung. A thread computes 4 x size / 16 scores (6 reads of 16
// bytes from shared memory for 32 products) and 4 rows of d / 16 results. The softmax is online:
// when the maximum rises, what was summed is scaled down (Milakov & Gimelshein 2018, arXiv
// 1805.02867), so that scores live in registers only.
//
// d = 256, size 32: forward 71 KiB of shared memory, 128 threads; gradient 142 KiB, and where that
// is too much, size 16 with 69 KiB. FLOPs: forward 4 l s d; gradient 6 l s d (dq) + 8 l s d (dk,
// dv).
#include "cuda/attention.h"
#include "cuda/attention_rows.h"
#include "tensor/math.h"

namespace ito::cuda::attention {
namespace {

/// Threads are 16 wide: thread t has rows 4 (t / 16) + i and columns t % 16 + 16 j of a tile of
/// scores, and in results of 64 d64 channels the same rows and channels 4 (t % 16) + 64 j + 0 .. 3.
template <int size, int d64>
struct Tile {
  static constexpr int threads = 4 * size, columns = size / 16;
  static constexpr int stride = 64 * d64 + 4;  // floats; rows begin in different banks
  static constexpr int p_stride = size + 1;
  using Scores = float[4][columns];
  using Results = float[4][d64][4];

  __device__ static int row(int i) { return 4 * static_cast<int>(threadIdx.x / 16) + i; }
  __device__ static int column(int j) { return static_cast<int>(threadIdx.x % 16) + 16 * j; }
  __device__ static int channel(int j, int c) {
    return 4 * static_cast<int>(threadIdx.x % 16) + 64 * j + c;
  }

  /// `count` rows of d elements to shared memory; zeros beyond.
  template <class T>
  __device__ static void load(float* tile, const T* x, Index count, const Shape& a) {
    const Index width = a.heads * a.d;
    for (int e = static_cast<int>(threadIdx.x); e < size * 64 * d64; e += threads) {
      const int r = e / (64 * d64), c = e % (64 * d64);
      tile[r * stride + c] = r < count && c < a.d ? to_float(x[r * width + c]) : 0.0f;
    }
  }

  /// own other^T
  __device__ static void multiply(Scores& scores, const float* own, const float* other) {
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < columns; ++j) scores[i][j] = 0.0f;
    }
#pragma unroll 2
    for (int c = 0; c < 64 * d64; c += 4) {
      Vec<float> x[4], y[columns];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = vec(own + row(i) * stride + c);
#pragma unroll
      for (int j = 0; j < columns; ++j) y[j] = vec(other + column(j) * stride + c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < columns; ++j) {
#pragma unroll
          for (int k = 0; k < 4; ++k) scores[i][j] += x[i][k] * y[j][k];
        }
      }
    }
  }

  /// sum += p other, with p [size, size] in shared memory
  __device__ static void accumulate(Results& sum, const float* p, const float* other) {
#pragma unroll 2
    for (int k = 0; k < size; ++k) {
      float factor[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) factor[i] = p[row(i) * p_stride + k];
#pragma unroll
      for (int j = 0; j < d64; ++j) {
        const Vec<float> x = vec(other + k * stride + channel(j, 0));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[i][j][c] += factor[i] * x[c];
        }
      }
    }
  }

  /// y[row] = factor[row] sum[row] for the rows below `count`
  template <class T>
  __device__ static void store(T* y, const Results& sum, const float (&factor)[4], Index count,
                               const Shape& a) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < d64; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (row(i) < count && channel(j, c) < a.d) {
            y[row(i) * a.heads * a.d + channel(j, c)] = from_float<T>(factor[i] * sum[i][j][c]);
          }
        }
      }
    }
  }

  __device__ static Vec<float> vec(const float* x) {
    return *reinterpret_cast<const Vec<float>*>(x);
  }
};

/// Combined over the 16 threads of a row.
template <class F>
__device__ float row_reduce(float value, F f) {
  for (int offset = 8; offset > 0; offset /= 2) {
    value = f(value, __shfl_xor_sync(full_warp, value, offset));
  }
  return value;
}

template <class T>
struct Inputs {
  const T *q, *k, *v, *mask, *dy;
  const float *lse, *dy_dot_y;
  Shape a;
};

/// Which rows a block owns.
struct Block {
  Index nh, first;
  __device__ Block(Index length, int size)
      : nh(blockIdx.x / ceil_div(length, size)),
        first(blockIdx.x % ceil_div(length, size) * size) {}
};

/// Online softmax of one tile: scores become probabilities relative to `top`, the largest so far.
template <class T, int size, int d64>
__device__ void soften(typename Tile<size, d64>::Scores& scores,
                       typename Tile<size, d64>::Results& sum, float (&top)[4], float (&total)[4],
                       const Inputs<T>& in, const Block& block, Index key0) {
  using Tile = Tile<size, d64>;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Index query = block.first + Tile::row(i);
    const T* const hidden = query < in.a.l ? mask_row(in.mask, in.a, block.nh, query) : nullptr;
    float next = top[i];
#pragma unroll
    for (int j = 0; j < Tile::columns; ++j) {
      const Index key = key0 + Tile::column(j);
      float& score = scores[i][j];
      score = key < in.a.s ? score * static_cast<float>(in.a.scale) : minus_infinity;
      if (hidden != nullptr && key < in.a.s) score += to_float(hidden[key]);
      next = fmaxf(next, score);
    }
    next = row_reduce(next, [](float x, float y) { return fmaxf(x, y); });
    const float shift = finite_shift(next), fade = expf(top[i] - shift);
    float added = 0.0f;
#pragma unroll
    for (int j = 0; j < Tile::columns; ++j) {
      scores[i][j] = expf(scores[i][j] - shift);
      added += scores[i][j];
    }
    top[i] = next;
    total[i] = total[i] * fade + row_reduce(added, Plus{});
#pragma unroll
    for (int j = 0; j < d64; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sum[i][j][c] *= fade;
    }
  }
}

template <class T, int size, int d64>
__global__ void __launch_bounds__(4 * size, 1) forward(Inputs<T> in, T* y, float* lse) {
  using Tile = Tile<size, d64>;
  ITO_DYNAMIC_SHARED(float, own);  // q; then k and v in turn; then probabilities
  float *const other = own + size * Tile::stride, *const p = other + size * Tile::stride;
  const Shape& a = in.a;
  const Index width = a.heads * a.d;
  const Block block(a.l, size);
  const T *const k = head(in.k, a, a.s, block.nh), *const v = head(in.v, a, a.s, block.nh);
  Tile::load(own, head(in.q, a, a.l, block.nh) + block.first * width, a.l - block.first, a);

  typename Tile::Results sum = {};
  float top[4], total[4] = {};
  for (float& t : top) t = minus_infinity;
  for (Index key0 = 0; key0 < a.s; key0 += size) {
    __syncthreads();
    Tile::load(other, k + key0 * width, a.s - key0, a);
    __syncthreads();
    typename Tile::Scores scores;
    Tile::multiply(scores, own, other);
    soften<T, size, d64>(scores, sum, top, total, in, block, key0);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < Tile::columns; ++j) {
        p[Tile::row(i) * Tile::p_stride + Tile::column(j)] = scores[i][j];
      }
    }
    __syncthreads();
    Tile::load(other, v + key0 * width, a.s - key0, a);
    __syncthreads();
    Tile::accumulate(sum, p, other);
  }

  float inverse[4];
  for (int i = 0; i < 4; ++i) {
    inverse[i] = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
    const Index query = block.first + Tile::row(i);
    if (threadIdx.x % 16 == 0 && query < a.l) lse[block.nh * a.l + query] = top[i] + logf(total[i]);
  }
  Tile::store(head(y, a, a.l, block.nh) + block.first * width, sum, inverse, a.l - block.first, a);
}

/// From the products of a query with a key (scores) and of their dy and v (dp): the probability and
/// the gradient of q k^T.
template <class T>
__device__ void differentiate(float& score, float& dp, const Inputs<T>& in, Index nh, Index query,
                              Index key) {
  const Shape& a = in.a;
  const float scale = static_cast<float>(a.scale);
  float p = 0.0f, dot = 0.0f;
  if (query < a.l && key < a.s) {
    const float lse = in.lse[nh * a.l + query];
    const T* const hidden = mask_row(in.mask, a, nh, query);
    const float shown = score * scale + (hidden == nullptr ? 0.0f : to_float(hidden[key]));
    p = lse == minus_infinity ? 0.0f : expf(shown - lse);
    dot = in.dy_dot_y[nh * a.l + query];
  }
  score = p;
  dp = scale * p * (dp - dot);
}

/// dq of a block's queries (results: dq), or dk and dv of a block's keys.
template <class T, int size, int d64, bool of_keys>
__global__ void __launch_bounds__(4 * size, 1) gradient(Inputs<T> in, T* dqk, T* dv) {
  using Tile = Tile<size, d64>;
  ITO_DYNAMIC_SHARED(float, own);                     // q, or k
  float* const own2 = own + size * Tile::stride;      // dy, or v
  float* const other = own2 + size * Tile::stride;    // k, or q
  float* const other2 = other + size * Tile::stride;  // v, or dy
  float* const ds = other2 + size * Tile::stride;
  float* const p = ds + size * Tile::p_stride;
  const Shape& a = in.a;
  const Index width = a.heads * a.d, length = of_keys ? a.s : a.l, others = of_keys ? a.l : a.s;
  const Block block(length, size);
  const Index at = block.first * width, count = length - block.first;
  Tile::load(own, head(of_keys ? in.k : in.q, a, length, block.nh) + at, count, a);
  Tile::load(own2, head(of_keys ? in.v : in.dy, a, length, block.nh) + at, count, a);
  const T* const from = head(of_keys ? in.q : in.k, a, others, block.nh);
  const T* const from2 = head(of_keys ? in.dy : in.v, a, others, block.nh);

  typename Tile::Results sum = {}, sum_v = {};
  for (Index first = 0; first < others; first += size) {
    __syncthreads();
    Tile::load(other, from + first * width, others - first, a);
    Tile::load(other2, from2 + first * width, others - first, a);
    __syncthreads();
    typename Tile::Scores scores, dp;
    Tile::multiply(scores, own, other);
    Tile::multiply(dp, own2, other2);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < Tile::columns; ++j) {
        const Index row = block.first + Tile::row(i), column = first + Tile::column(j);
        differentiate(scores[i][j], dp[i][j], in, block.nh, of_keys ? column : row,
                      of_keys ? row : column);
        ds[Tile::row(i) * Tile::p_stride + Tile::column(j)] = dp[i][j];
        if (of_keys) p[Tile::row(i) * Tile::p_stride + Tile::column(j)] = scores[i][j];
      }
    }
    __syncthreads();
    Tile::accumulate(sum, ds, other);
    if (of_keys) Tile::accumulate(sum_v, p, other2);
  }
  const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  Tile::store(head(dqk, a, length, block.nh) + at, sum, ones, count, a);
  if (of_keys) Tile::store(head(dv, a, length, block.nh) + at, sum_v, ones, count, a);
}

constexpr std::size_t shared_bytes(Index d, int size, bool is_gradient) {
  const auto stride = static_cast<std::size_t>((d + 63) / 64 * 64 + 4);
  const auto n = static_cast<std::size_t>(size), arrays = std::size_t{is_gradient ? 2u : 1u};
  return sizeof(float) * arrays * (2 * n * stride + n * (n + 1));
}

bool fits(Index d, int size, bool is_gradient) {
  return d <= 256 && shared_bytes(d, size, is_gradient) <= properties().shared_memory_per_block;
}

unsigned blocks(const Shape& a, Index length, int size) {
  return static_cast<unsigned>(a.n * a.heads * ceil_div(length, size));
}

/// f with d64 = d / 64, rounded up, as a constant.
template <class F>
void with_d64(Index d, F f) {
  if (d <= 64) return f(std::integral_constant<int, 1>{});
  if (d <= 128) return f(std::integral_constant<int, 2>{});
  if (d <= 192) return f(std::integral_constant<int, 3>{});
  f(std::integral_constant<int, 4>{});
}

template <class T, int size>
void run(const Forward& args) {
  const Shape& a = args.shape;
  const Inputs<T> in{static_cast<const T*>(args.q),
                     static_cast<const T*>(args.k),
                     static_cast<const T*>(args.v),
                     static_cast<const T*>(args.mask),
                     nullptr,
                     nullptr,
                     nullptr,
                     a};
  with_d64(a.d, [&](auto d64) {
    launch(forward<T, size, d64>, blocks(a, a.l, size), 4 * size, shared_bytes(a.d, size, false),
           in, static_cast<T*>(args.y), static_cast<float*>(args.lse));
  });
}

template <class T, int size>
void run(const Gradient& args) {
  const Shape& a = args.shape;
  Scratch<float> dy_dot_y(a.n * a.heads * a.l);
  row_dots(args, dy_dot_y.data());
  const Inputs<T> in{static_cast<const T*>(args.q),
                     static_cast<const T*>(args.k),
                     static_cast<const T*>(args.v),
                     static_cast<const T*>(args.mask),
                     static_cast<const T*>(args.dy),
                     static_cast<const float*>(args.lse),
                     dy_dot_y.data(),
                     a};
  const std::size_t shared = shared_bytes(a.d, size, true);
  with_d64(a.d, [&](auto d64) {
    launch(gradient<T, size, d64, false>, blocks(a, a.l, size), 4 * size, shared, in,
           static_cast<T*>(args.dq), static_cast<T*>(nullptr));
    launch(gradient<T, size, d64, true>, blocks(a, a.s, size), 4 * size, shared, in,
           static_cast<T*>(args.dk), static_cast<T*>(args.dv));
  });
}

}  // namespace

bool can_use_tiled(const Forward& args) { return fits(args.shape.d, 32, false); }
bool can_use_tiled(const Gradient& args) { return fits(args.shape.d, 16, true); }

void tiled(const Forward& args) {
  with_element("attention", args.dtype, [&]<class T>(T) { run<T, 32>(args); });
}

void tiled(const Gradient& args) {
  with_element("attention_grad", args.dtype, [&]<class T>(T) {
    fits(args.shape.d, 32, true) ? run<T, 32>(args) : run<T, 16>(args);
  });
}

}  // namespace ito::cuda::attention
