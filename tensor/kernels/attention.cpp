// Attention on the CPU, after FlashAttention (Dao et al. 2022, arXiv 2205.14135): the queries are
// walked in blocks, so that the scores of a block stay in the cache and no array of size l x s goes
// through memory; backward computes them again.
//
// Cost: 2 products forward and 5 backward of 2 l s d operations each, by the register tiles of
// gemm.h, and l s exponentials each way, about 14 operations on a vector.
//
// A task is one head of one sample. Where these are fewer than `few`, as in sampling one image, the
// queries are shared out too; the gradients of keys and values are then sums of the parts, in
// order.
#include "tensor/kernels/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/scratch.h"
#include "tensor/kernels/simd_shuffle.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr Index target_heads = 8;            // heads, in all samples together
constexpr Index min_queries = 32;            // of a part
constexpr Index query_block = 5 * max_tile;  // at most

template <class T>
constexpr T minus_infinity = -std::numeric_limits<T>::infinity();
template <class T>
constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();

/// One head of one sample in an array [n, length, heads d]: rows `width` apart. `nh` counts the
/// heads of all samples.
template <class T>
T* head(void* array, const AttentionShape& a, Index length, Index nh) {
  return static_cast<T*>(array) + nh / a.heads * length * a.heads * a.d + nh % a.heads * a.d;
}
template <class T>
const T* head(const void* array, const AttentionShape& a, Index length, Index nh) {
  return head<T>(const_cast<void*>(array), a, length, nh);
}

template <class T>
const T* mask_row(const void* mask, const AttentionShape& a, Index nh, Index row) {
  if (mask == nullptr) return nullptr;
  return static_cast<const T*>(mask) + ((a.mask_per_sample ? nh / a.heads * a.l : 0) + row) * a.s;
}

// ---- tasks --------------------------------------------------------------------------------------

/// Keys or values [n, s, heads d], to be packed as right operands: a head as it is, or transposed.
struct Operand {
  const void* array;
  bool transposed;
};

template <class T>
void pack(const Operand& operand, const AttentionShape& a, Index nh, Index b, T* packed) {
  const T* data = head<T>(operand.array, a, a.s, nh);
  const Index width = a.heads * a.d;
  if (operand.transposed) {
    pack_block<T>({data, 1, width}, a.d, a.s, b, packed);
  } else {
    pack_block<T>({data, width, 1}, a.s, a.d, b, packed);
  }
}

Index parts_of(const AttentionShape& a) {
  const Index heads = std::max<Index>(a.n * a.heads, 1);
  if (heads >= target_heads) return 1;
  const Index max_parts = ceil_div(a.l, min_queries);
  return std::clamp<Index>(max_parts, 1, ceil_div(target_heads, heads));
}

/// f(head, part, first query, last query, packed operands) for every part of every head, on all
/// threads. A task that is a whole head packs its own operands; parts share them.
template <class T, std::size_t count, class F>
void for_parts(const AttentionShape& a, const std::array<Operand, count>& operands, F f) {
  const Index heads = a.n * a.heads, parts = parts_of(a);
  std::array<Index, count + 1> at{}, first_block{};
  for (std::size_t i = 0; i < count; ++i) {
    const bool t = operands[i].transposed;
    at[i + 1] = at[i] + (t ? packed_size<T>(a.d, a.s) : packed_size<T>(a.s, a.d));
    first_block[i + 1] = first_block[i] + block_count<T>(t ? a.s : a.d);
  }
  const Index size = at[count], blocks = first_block[count];
  const auto pack_one = [&](Index nh, Index b, T* packed) {
    std::size_t i = 0;
    while (b >= first_block[i + 1]) ++i;
    pack<T>(operands[i], a, nh, b - first_block[i], packed + at[i]);
  };
  const auto run = [&](Index nh, Index part, T* packed) {
    std::array<const T*, count> arrays;
    for (std::size_t i = 0; i < count; ++i) arrays[i] = packed + at[i];
    f(nh, part, a.l * part / parts, a.l * (part + 1) / parts, arrays);
  };
  Scratch<T> shared(parts > 1 ? heads * size : 0);
  if (parts > 1) {
    parallel_for(heads * blocks, 1, [&](Index i, Index) {
      pack_one(i / blocks, i % blocks, shared.data() + i / blocks * size);
    });
  }
  parallel_for(heads * parts, 1, [&](Index i, Index) {
    if (parts > 1) return run(i / parts, i % parts, shared.data() + i / parts * size);
    Scratch<T> packed(size);
    for (Index b = 0; b < blocks; ++b) pack_one(i, b, packed.data());
    run(i, 0, packed.data());
  });
}

/// f(first, rows) for the blocks of the queries [first, last), as equal as possible.
template <class F>
void for_query_blocks(Index first, Index last, F f) {
  const Index length = last - first, blocks = ceil_div(length, query_block);
  for (Index b = 0; b < blocks; ++b) {
    const Index begin = length * b / blocks;
    f(first + begin, length * (b + 1) / blocks - begin);
  }
}

// ---- forward ------------------------------------------------------------------------------------

/// f(offset, whether these are the last) for the vectors of a padded row.
template <class T, class F>
ITO_INLINE void for_vectors(Index s, F f) {
  Index j = 0;
  for (; j + simd::lanes<T> < s; j += simd::lanes<T>) f(j, std::false_type{});
  if (j < s) f(j, std::true_type{});
}

/// What is added to the last vector of a row of scores, so that what stands behind the last key
/// never counts: 0, and -inf there.
template <class T>
simd::vector_of<T> tail_of(Index s) {
  simd::vector_of<T> tail{};
  for (Index j = s - (whole_vectors<T>(s) - simd::lanes<T>); j < simd::lanes<T>; ++j) {
    tail[j] = minus_infinity<T>;
  }
  return tail;
}

/// row = scale row + mask
template <class T>
void add_mask(T* row, const T* mask, Index s, T scale) {
  for (Index j = 0; j < s; ++j) row[j] = row[j] * scale + mask[j];
}

/// The largest element of a row, or a NaN when there is one.
template <class T>
T largest(const T* row, Index s, const simd::vector_of<T>& tail) {
  using V = simd::vector_of<T>;
  V top = V{} + minus_infinity<T>, total{};
  for_vectors<T>(s, [&](Index j, auto last) {
    V x;
    simd::load(x, row + j);
    if constexpr (last) x += tail;
    top = x > top ? x : top;
    total += x;
  });
  // A comparison passes over a NaN, a sum does not; nor does it over inf - inf.
  const T sum = simd::sum<T>(total);
  if (sum != sum && std::any_of(row, row + s, [](T x) { return x != x; })) return not_a_number<T>;
  simd::reduce<T>(top, [](const V& a, const V& b) { return a > b ? a : b; });
  return top[0];
}

/// Scores to exp(scale row + mask - its maximum), in place; `inverse` is 1 / their sum. Returns the
/// log of the sum of exp(scale row + mask).
template <class T>
T softmax_row(T* row, const T* mask, Index s, T scale, const simd::vector_of<T>& tail, T& inverse) {
  using V = simd::vector_of<T>;
  if (mask != nullptr) {
    add_mask(row, mask, s, scale);
    scale = 1;
  }
  const T top = largest(row, s, tail) * scale;
  inverse = 1;
  if (top == minus_infinity<T>) {  // no key to look at
    std::fill_n(row, s, T(0));
    return top;
  }
  if (!(top < std::numeric_limits<T>::infinity())) {
    std::fill_n(row, s, not_a_number<T>);
    return not_a_number<T>;
  }
  V total{};
  for_vectors<T>(s, [&](Index j, auto last) {
    V x;
    simd::load(x, row + j);
    if constexpr (last) x += tail;
    x = x * scale - top;
    simd::exp_to_88(x);
    simd::store(row + j, x);
    total += x;
  });
  const T sum = simd::sum<T>(total);
  inverse = T(1) / sum;
  return top + std::log(sum);
}

template <class T>
void forward(const Attention::Args& args, Index nh, Index begin, Index end,
             const std::array<const T*, 2>& packed) {
  const AttentionShape& a = args.shape;
  const Index width = a.heads * a.d, row_step = whole_vectors<T>(a.s);
  const T* q = head<T>(args.q, a, a.l, nh);
  T* y = head<T>(args.y, a, a.l, nh);
  T* lse = static_cast<T*>(args.lse) + nh * a.l;
  const simd::vector_of<T> tail = tail_of<T>(a.s);
  Scratch<T> scratch(query_block * row_step);
  T *p = scratch.data(), inverse[query_block];
  for_query_blocks(begin, end, [&](Index first, Index rows) {
    multiply<T>({q + first * width, width, 1}, rows, a.d, packed[0], row_step, p, row_step);
    for (Index i = 0; i < rows; ++i) {
      lse[first + i] = softmax_row(p + i * row_step, mask_row<T>(args.mask, a, nh, first + i), a.s,
                                   static_cast<T>(a.scale), tail, inverse[i]);
    }
    multiply<T>({p, row_step, 1}, rows, a.s, packed[1], a.d, y + first * width, width);
    for (Index i = 0; i < rows; ++i) {
      T* y_row = y + (first + i) * width;
      for (Index c = 0; c < a.d; ++c) y_row[c] *= inverse[i];
    }
  });
}

// ---- backward -----------------------------------------------------------------------------------

template <class T>
T dot(const T* a, const T* b, Index count) {
  simd::vector_of<T> total{};
  for (Index i = 0; i < count; i += simd::lanes<T>) {
    simd::vector_of<T> x, y;
    simd::load(x, a + i, count - i);
    simd::load(y, b + i, count - i);
    total += x * y;
  }
  return simd::sum<T>(total);
}

/// One query: p becomes the probabilities, ds = dy v^T becomes the gradient of scale q k^T. What
/// stands behind the last key is not read by anybody.
template <class T>
void gradient_row(T* p, T* ds, const T* mask, Index s, T scale, T lse, T dy_dot_y) {
  using V = simd::vector_of<T>;
  if (!(lse > minus_infinity<T>)) {  // no key to look at, or NaN
    const T nothing = lse == minus_infinity<T> ? T(0) : lse;
    std::fill_n(p, s, nothing);
    std::fill_n(ds, s, nothing);
    return;
  }
  const T p_scale = mask == nullptr ? scale : T(1);
  if (mask != nullptr) add_mask(p, mask, s, scale);
  for_vectors<T>(s, [&](Index j, auto) {
    V x, d;
    simd::load(x, p + j);
    simd::load(d, ds + j);
    x = x * p_scale - lse;
    simd::exp_to_88(x);
    simd::store(p + j, x);
    simd::store(ds + j, x * (d * scale - dy_dot_y * scale));
  });
}

/// Where a part leaves its share of dk and dv: rows `step` apart.
template <class T>
struct KeyGradients {
  T *dk, *dv;
  Index step;
};

template <class T>
void backward(const AttentionGrad::Args& args, Index nh, Index begin, Index end,
              const std::array<const T*, 3>& packed, const KeyGradients<T>& to) {
  const AttentionShape& a = args.shape;
  const Index width = a.heads * a.d, row_step = whole_vectors<T>(a.s);
  const T* q = head<T>(args.q, a, a.l, nh);
  const T* y = head<T>(args.y, a, a.l, nh);
  const T* dy = head<T>(args.dy, a, a.l, nh);
  T* dq = head<T>(args.dq, a, a.l, nh);
  const T* lse = static_cast<const T*>(args.lse) + nh * a.l;
  Scratch<T> rows_packed(packed_size<T>(query_block, a.d)), scratch(2 * query_block * row_step);
  T *p = scratch.data(), *ds = p + query_block * row_step;
  for_query_blocks(begin, end, [&](Index first, Index rows) {
    const Index at = first * width;
    const Onto onto = first == begin ? Onto::zero : Onto::y;
    multiply<T>({q + at, width, 1}, rows, a.d, packed[0], row_step, p, row_step);
    multiply<T>({dy + at, width, 1}, rows, a.d, packed[1], row_step, ds, row_step);
    for (Index i = 0; i < rows; ++i) {
      const T dy_dot_y = dot(dy + at + i * width, y + at + i * width, a.d);
      gradient_row(p + i * row_step, ds + i * row_step, mask_row<T>(args.mask, a, nh, first + i),
                   a.s, static_cast<T>(a.scale), lse[first + i], dy_dot_y);
    }
    multiply<T>({ds, row_step, 1}, rows, a.s, packed[2], a.d, dq + at, width);
    pack_matrix<T>({dy + at, width, 1}, rows, a.d, rows_packed.data());
    multiply<T>({p, 1, row_step}, a.s, rows, rows_packed.data(), a.d, to.dv, to.step, onto);
    pack_matrix<T>({q + at, width, 1}, rows, a.d, rows_packed.data());
    multiply<T>({ds, 1, row_step}, a.s, rows, rows_packed.data(), a.d, to.dk, to.step, onto);
  });
  if (begin == end) {
    for (Index s = 0; s < a.s; ++s) {
      std::fill_n(to.dk + s * to.step, a.d, T(0));
      std::fill_n(to.dv + s * to.step, a.d, T(0));
    }
  }
}

/// dk and dv of all heads: the parts' shares [heads, parts, 2, s, d], added in order.
template <class T>
void add_parts(const AttentionGrad::Args& args, Index parts, const T* shares) {
  const AttentionShape& a = args.shape;
  const Index width = a.heads * a.d, share = 2 * a.s * a.d;
  parallel_for(a.n * a.heads * 2 * a.s, 64, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index nh = i / (2 * a.s), row = i % (2 * a.s);
      const T* from = shares + nh * parts * share + row * a.d;
      T* to = head<T>(row < a.s ? args.dk : args.dv, a, a.s, nh) + row % a.s * width;
      std::copy_n(from, a.d, to);
      for (Index part = 1; part < parts; ++part) {
        for (Index c = 0; c < a.d; ++c) to[c] += from[part * share + c];
      }
    }
  });
}

}  // namespace

void Attention::cpu(const Args& args) {
  with_float(name, args.dtype, [&]<class T>(T) {
    const std::array<Operand, 2> operands{{{args.k, true}, {args.v, false}}};
    for_parts<T>(
        args.shape, operands,
        [&](Index nh, Index, Index first, Index last, const std::array<const T*, 2>& packed) {
          forward<T>(args, nh, first, last, packed);
        });
  });
}

void AttentionGrad::cpu(const Args& args) {
  const AttentionShape& a = args.shape;
  with_float(name, args.dtype, [&]<class T>(T) {
    const std::array<Operand, 3> operands{{{args.k, true}, {args.v, true}, {args.k, false}}};
    const Index parts = parts_of(a), share = 2 * a.s * a.d;
    Scratch<T> shares(parts > 1 ? a.n * a.heads * parts * share : 0);
    for_parts<T>(
        a, operands,
        [&](Index nh, Index part, Index first, Index last, const std::array<const T*, 3>& packed) {
          T* own = shares.data() + (nh * parts + part) * share;
          const KeyGradients<T> to =
              parts > 1 ? KeyGradients<T>{own, own + a.s * a.d, a.d}
                        : KeyGradients<T>{head<T>(args.dk, a, a.s, nh),
                                          head<T>(args.dv, a, a.s, nh), a.heads * a.d};
          backward<T>(args, nh, first, last, packed, to);
        });
    if (parts > 1) add_parts<T>(args, parts, shares.data());
  });
}

}  // namespace ito::kernel
