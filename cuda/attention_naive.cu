// Attention, first rung: one warp per row, straight from global memory.
//
// Forward: 4 l s d FLOPs, but every query reads all of k and v through the cache, 2 s d elements,
// and each score costs a warp reduction of five shuffles for d / 32 products per lane. A rung to
// check others against, and the only one for d > 256.
#include "cuda/attention.h"
#include "cuda/attention_rows.h"

namespace ito::cuda::attention {
namespace {

constexpr int warps_per_block = 4;
constexpr int per_lane = 8;           // results of a lane
constexpr int chunk = 32 * per_lane;  // channels of a warp's result; wider heads take turns

template <class T>
__device__ float warp_dot(const T* a, const T* b, Index d) {
  float sum = 0.0f;
  for (Index j = threadIdx.x % 32; j < d; j += 32) sum += to_float(a[j]) * to_float(b[j]);
  return warp_reduce(sum);
}

/// This warp's place among all warps, and their number.
__device__ Index first_row() { return Index{blockIdx.x} * warps_per_block + threadIdx.x / 32; }
__device__ Index row_step() { return Index{gridDim.x} * warps_per_block; }

/// A lane's channels lane, lane + 32, ... of a chunk of a row.
struct Lane {
  Index first, d;
  __device__ Index channel(int i) const { return first + threadIdx.x % 32 + 32 * i; }
  template <class T>
  __device__ void add(float (&sum)[per_lane], float factor, const T* row) const {
    for (int i = 0; i < per_lane; ++i) {
      if (channel(i) < d) sum[i] += factor * to_float(row[channel(i)]);
    }
  }
  template <class T>
  __device__ void store(const float (&sum)[per_lane], float factor, T* row) const {
    for (int i = 0; i < per_lane; ++i) {
      if (channel(i) < d) row[channel(i)] = from_float<T>(factor * sum[i]);
    }
  }
};

template <class T>
__global__ void forward(const T* q, const T* k, const T* v, const T* mask, T* y, float* lse,
                        Shape a) {
  const Index width = a.heads * a.d;
  for (Index row = first_row(); row < a.n * a.heads * a.l; row += row_step()) {
    const Index nh = row / a.l, query = row % a.l;
    const T* const qi = head(q, a, a.l, nh) + query * width;
    const T *const keys = head(k, a, a.s, nh), *const values = head(v, a, a.s, nh);
    const T* const hidden = mask_row(mask, a, nh, query);
    for (Index first = 0; first < a.d; first += chunk) {
      const Lane lane{first, a.d};
      float top = minus_infinity, total = 0.0f, sum[per_lane] = {};
      for (Index j = 0; j < a.s; ++j) {
        float score = static_cast<float>(a.scale) * warp_dot(qi, keys + j * width, a.d);
        if (hidden != nullptr) score += to_float(hidden[j]);
        const float next = fmaxf(top, score), shift = finite_shift(next);
        const float fade = expf(top - shift), p = expf(score - shift);
        top = next;
        total = total * fade + p;
        for (float& s : sum) s *= fade;
        lane.add(sum, p, values + j * width);
      }
      lane.store(sum, total == 0.0f ? 0.0f : 1.0f / total, head(y, a, a.l, nh) + query * width);
      if (first == 0 && threadIdx.x % 32 == 0) lse[row] = top + logf(total);
    }
  }
}

/// What a pair of a query and a key contributes: its probability, and the gradient of q k^T.
struct Pair {
  float p, ds;
};
template <class T>
__device__ Pair pair_of(const T* q, const T* k, const T* v, const T* dy, const T* mask, float lse,
                        float dy_dot_y, const Shape& a) {
  const float scale = static_cast<float>(a.scale);
  float score = scale * warp_dot(q, k, a.d);
  if (mask != nullptr) score += to_float(*mask);
  const float p = lse == minus_infinity ? 0.0f : expf(score - lse);
  return {p, scale * p * (warp_dot(dy, v, a.d) - dy_dot_y)};
}

template <class T>
__global__ void gradient_of_queries(const T* q, const T* k, const T* v, const T* mask, const T* dy,
                                    const float* lse, const float* dy_dot_y, T* dq, Shape a) {
  const Index width = a.heads * a.d;
  for (Index row = first_row(); row < a.n * a.heads * a.l; row += row_step()) {
    const Index nh = row / a.l, query = row % a.l, at = query * width;
    const T *const keys = head(k, a, a.s, nh), *const values = head(v, a, a.s, nh);
    const T* const hidden = mask_row(mask, a, nh, query);
    for (Index first = 0; first < a.d; first += chunk) {
      const Lane lane{first, a.d};
      float sum[per_lane] = {};
      for (Index j = 0; j < a.s; ++j) {
        const Pair pair =
            pair_of(head(q, a, a.l, nh) + at, keys + j * width, values + j * width,
                    head(dy, a, a.l, nh) + at, hidden == nullptr ? nullptr : hidden + j, lse[row],
                    dy_dot_y[row], a);
        lane.add(sum, pair.ds, keys + j * width);
      }
      lane.store(sum, 1.0f, head(dq, a, a.l, nh) + at);
    }
  }
}

template <class T>
__global__ void gradient_of_keys(const T* q, const T* k, const T* v, const T* mask, const T* dy,
                                 const float* lse, const float* dy_dot_y, T* dk, T* dv, Shape a) {
  const Index width = a.heads * a.d;
  for (Index row = first_row(); row < a.n * a.heads * a.s; row += row_step()) {
    const Index nh = row / a.s, key = row % a.s, at = key * width;
    const T *const queries = head(q, a, a.l, nh), *const dys = head(dy, a, a.l, nh);
    for (Index first = 0; first < a.d; first += chunk) {
      const Lane lane{first, a.d};
      float sum_k[per_lane] = {}, sum_v[per_lane] = {};
      for (Index i = 0; i < a.l; ++i) {
        const T* const hidden = mask_row(mask, a, nh, i);
        const Pair pair =
            pair_of(queries + i * width, head(k, a, a.s, nh) + at, head(v, a, a.s, nh) + at,
                    dys + i * width, hidden == nullptr ? nullptr : hidden + key, lse[nh * a.l + i],
                    dy_dot_y[nh * a.l + i], a);
        lane.add(sum_k, pair.ds, queries + i * width);
        lane.add(sum_v, pair.p, dys + i * width);
      }
      lane.store(sum_k, 1.0f, head(dk, a, a.s, nh) + at);
      lane.store(sum_v, 1.0f, head(dv, a, a.s, nh) + at);
    }
  }
}

template <class T>
__global__ void dots(const T* y, const T* dy, float* dy_dot_y, Shape a) {
  const Index width = a.heads * a.d;
  for (Index row = first_row(); row < a.n * a.heads * a.l; row += row_step()) {
    const Index nh = row / a.l, at = (row % a.l) * width;
    const float dot = warp_dot(head(y, a, a.l, nh) + at, head(dy, a, a.l, nh) + at, a.d);
    if (threadIdx.x % 32 == 0) dy_dot_y[row] = dot;
  }
}

unsigned blocks(Index rows) { return blocks_for(rows, warps_per_block); }
constexpr unsigned threads = 32 * warps_per_block;

}  // namespace

void naive(const Forward& args) {
  with_element("attention", args.dtype, [&]<class T>(T) {
    const Shape& a = args.shape;
    launch(forward<T>, blocks(a.n * a.heads * a.l), threads, 0, static_cast<const T*>(args.q),
           static_cast<const T*>(args.k), static_cast<const T*>(args.v),
           static_cast<const T*>(args.mask), static_cast<T*>(args.y), static_cast<float*>(args.lse),
           a);
  });
}

void naive(const Gradient& args) {
  with_element("attention_grad", args.dtype, [&]<class T>(T) {
    const Shape& a = args.shape;
    Scratch<float> dy_dot_y(a.n * a.heads * a.l);
    row_dots(args, dy_dot_y.data());
    const auto* q = static_cast<const T*>(args.q);
    const auto* k = static_cast<const T*>(args.k);
    const auto* v = static_cast<const T*>(args.v);
    const auto* mask = static_cast<const T*>(args.mask);
    const auto* dy = static_cast<const T*>(args.dy);
    const auto* lse = static_cast<const float*>(args.lse);
    launch(gradient_of_queries<T>, blocks(a.n * a.heads * a.l), threads, 0, q, k, v, mask, dy, lse,
           dy_dot_y.data(), static_cast<T*>(args.dq), a);
    launch(gradient_of_keys<T>, blocks(a.n * a.heads * a.s), threads, 0, q, k, v, mask, dy, lse,
           dy_dot_y.data(), static_cast<T*>(args.dk), static_cast<T*>(args.dv), a);
  });
}

void row_dots(const Gradient& args, float* dy_dot_y) {
  with_element("attention_grad", args.dtype, [&]<class T>(T) {
    const Shape& a = args.shape;
    launch(dots<T>, blocks(a.n * a.heads * a.l), threads, 0, static_cast<const T*>(args.y),
           static_cast<const T*>(args.dy), dy_dot_y, a);
  });
}

}  // namespace ito::cuda::attention
