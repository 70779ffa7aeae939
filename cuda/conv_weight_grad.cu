// The weight gradient, tiled (f32) and on tensor cores (bf16): a matrix product over all pixels
//
//   dweight[o, (r, s, i)] = sum over m = (n, p, q) of dy[m, o] A[m, (r, s, i)]
//
// with A gathered as in the forward pass. Both operands lie in memory with the summed index m as
// their slow axis; the tensor-core tiles keep that order and ldmatrix.trans turns them on the way
// to registers.
//
// There are few tiles (9 for 128 x 9 x 128 weights) and a long sum (131072 pixels), so the sum is
// always cut into splits: each writes its sums in f32, and a second kernel adds them in order.
// Cost beside the products: 8 bytes per weight and split.
#include <array>
#include <string>

#include "cuda/conv_pack.h"
#include "cuda/conv_tensor_core.h"
#include "cuda/conv_tiled.h"
#include "tensor/math.h"

namespace ito::cuda::conv {
namespace {

using kernel::Conv2dWeightGrad;

/// dweight as partial sums [splits, out, kh kw in], in the padded channels of the operands.
struct WeightProduct {
  Correlation c;   ///< the forward pass's x and pixels
  const void* dy;  ///< [pixels, dy_channels]
  int dy_channels;
  float* partial;
  int images = 0, rows = 0, columns = 0;  ///< a block of the sum, as a number of pixels (n, p, q)
};

/// Column k of A, fixed for a thread, read down the rows m, a block of the sum at a time: a number
/// of three digits (n, p, q), to which the block is added digit by digit instead of being divided.
template <class T>
class Descent {
 public:
  /// Where the column's tap meets a row m: in the image that begins at pixel `image`.
  struct Row {
    int h, w, image;
  };

  __device__ Descent(const WeightProduct& product, int k) : Descent(product, Tap(product.c, k)) {}
  __device__ Row row(int m) const {
    const int n = static_cast<int>(c_.per_image.quotient(static_cast<unsigned>(m)));
    const int rest = m - n * c_.p * c_.q;
    const int p = static_cast<int>(c_.per_row.quotient(static_cast<unsigned>(rest)));
    return {p * c_.stride + top_, (rest - p * c_.q) * c_.stride + left_, n * c_.h * c_.w};
  }
  __device__ __forceinline__ void advance(Row& row) const {
    row.w += product_.columns * c_.stride;
    row.h += product_.rows * c_.stride;
    row.image += product_.images * c_.h * c_.w;
    if (row.w >= c_.q * c_.stride + left_) row.w -= c_.q * c_.stride, row.h += c_.stride;
    if (row.h >= c_.p * c_.stride + top_) row.h -= c_.p * c_.stride, row.image += c_.h * c_.w;
  }
  __device__ __forceinline__ bool inside(const Row& row) const {
    const auto below = [](int i, int size) {
      return static_cast<unsigned>(i) < static_cast<unsigned>(size);
    };
    return row.image < end_ && below(row.h, c_.h) && below(row.w, c_.w);
  }
  __device__ __forceinline__ const T* at(const Row& row) const {
    return column_.at(row.image + row.h * c_.w + row.w);
  }

 private:
  __device__ Descent(const WeightProduct& product, const Tap& tap)
      : product_(product),
        c_(product.c),
        column_(c_, tap, 0),
        top_(tap.r - c_.top),
        left_(tap.s - c_.left),
        end_(column_.valid ? c_.images * c_.h * c_.w : 0) {}

  const WeightProduct& product_;
  const Correlation& c_;
  Column<T> column_;
  int top_, left_, end_;
};

// ---- tensor cores ------------------------------------------------------------------------------

/// One chunk column of a tile of rows k = pixels; `width` of the tile, m or n.
template <class Tile, int width>
struct Chunk {
  static constexpr int chunks = width / 8, pass = Tile::threads / chunks;
  static constexpr int rows = ceil_div(Tile::k, pass);
  static_assert(pass % 8 == 0 && (Tile::k % pass == 0 || rows == 1));
  static constexpr bool partly = Tile::k % pass != 0;  // then only some threads have a row
  int row = static_cast<int>(threadIdx.x) / chunks;
  int column = static_cast<int>(threadIdx.x) % chunks;
};

template <class Tile>
class GradientLoader {
  using At = Chunk<Tile, Tile::m>;

 public:
  __device__ GradientLoader(const WeightProduct& p, int first_m, int first_k)
      : left_(p.c.pixels - first_k - at_.row),
        step_(p.dy_channels),
        valid_(first_m + at_.column * 8 < p.dy_channels),
        to_(swizzled<At::chunks>(at_.row, at_.column)),
        from_(static_cast<const bf16*>(p.dy) +
              static_cast<std::int64_t>(first_k + at_.row) * step_ + first_m + at_.column * 8) {}
  __device__ __forceinline__ void load(bf16* tile) {
#pragma unroll
    for (int j = 0; j < At::rows; ++j) {
      if (At::partly && at_.row >= Tile::k) break;
      ptx::cp_async_16(tile + to_ + j * At::pass * Tile::m,
                       from_ + static_cast<std::int64_t>(j * At::pass) * step_,
                       valid_ && j * At::pass < left_);
    }
    left_ -= Tile::k, from_ += static_cast<std::int64_t>(Tile::k) * step_;
  }

 private:
  At at_;
  int left_, step_;
  bool valid_;
  int to_;
  const bf16* from_;
};

template <class Tile>
class ImageLoader {
  using At = Chunk<Tile, Tile::n>;

 public:
  __device__ ImageLoader(const WeightProduct& p, int first_n, int first_k)
      : to_(swizzled<At::chunks>(at_.row, at_.column)), column_(p, first_n + at_.column * 8) {
#pragma unroll
    for (int j = 0; j < At::rows; ++j) row_[j] = column_.row(first_k + at_.row + j * At::pass);
  }
  __device__ __forceinline__ void load(bf16* tile) {
#pragma unroll
    for (int j = 0; j < At::rows; ++j) {
      if (At::partly && at_.row >= Tile::k) break;
      ptx::cp_async_16(tile + to_ + j * At::pass * Tile::n, column_.at(row_[j]),
                       column_.inside(row_[j]));
      column_.advance(row_[j]);
    }
  }

 private:
  At at_;
  int to_;
  Descent<bf16> column_;
  typename Descent<bf16>::Row row_[At::rows];
};

template <class Tile>
struct Both {
  GradientLoader<Tile>& gradient;
  ImageLoader<Tile>& image;
  __device__ __forceinline__ void load(bf16* tile_a, bf16* tile_b) {
    gradient.load(tile_a);
    image.load(tile_b);
  }
};

template <class Tile>
__global__ void __launch_bounds__(Tile::threads)
    weight_grad(WeightProduct p, int tiles_n, int blocks) {
  ITO_DYNAMIC_SHARED(bf16, ring);
  const int tile = static_cast<int>(blockIdx.x), split = static_cast<int>(blockIdx.y);
  const int first_m = tile / tiles_n * Tile::m, first_n = tile % tiles_n * Tile::n;
  const int begin = split * blocks, all = ceil_div(p.c.pixels, Tile::k);
  GradientLoader<Tile> gradient(p, first_m, begin * Tile::k);
  ImageLoader<Tile> image(p, first_n, begin * Tile::k);
  Both<Tile> loader{gradient, image};
  Sums<Tile> sums = {};
  multiply<Tile>(loader, min(all - begin, blocks), ring, sums);
  const int columns = p.c.depth();
  for_rows<Tile>(sums, ring, [&](int row, int column, float(&values)[8]) {
    const int m = first_m + row, n = first_n + column;
    if (m < p.c.out && n < columns) {
      store_partial(p.partial, p.c.out, columns, split, m, n, values);
    }
  });
}

// ---- f32 ---------------------------------------------------------------------------------------

/// dy [k][m]: thread t brings column t % m of every (256 / m)-th row.
template <class T, class Tile>
class GradientFetch {
  static constexpr int pass = Tile::threads / Tile::m, rows = Tile::k / pass;

 public:
  __device__ GradientFetch(const WeightProduct& p, int first_m, int first_k)
      : row_(static_cast<int>(threadIdx.x) / Tile::m),
        column_(static_cast<int>(threadIdx.x) % Tile::m),
        left_(p.c.pixels - first_k - row_),
        step_(p.dy_channels),
        valid_(first_m + column_ < p.dy_channels),
        from_(static_cast<const T*>(p.dy) + std::int64_t{first_k + row_} * step_ + first_m +
              column_) {}
  __device__ __forceinline__ void fetch() {
#pragma unroll
    for (int j = 0; j < rows; ++j) {
      const bool there = valid_ && j * pass < left_;
      value_[j] = there ? to_float(from_[std::int64_t{j * pass} * step_]) : 0.0f;
    }
    left_ -= Tile::k, from_ += std::int64_t{Tile::k} * step_;
  }
  __device__ __forceinline__ void put(float* tile) const {
#pragma unroll
    for (int j = 0; j < rows; ++j) tile[(row_ + j * pass) * Tile::m_stride + column_] = value_[j];
  }

 private:
  int row_, column_, left_, step_;
  bool valid_;
  const T* from_;
  float value_[rows];
};

template <class T, class Tile>
class ImageFetch {
  static constexpr int pass = Tile::threads / Tile::n, rows = Tile::k / pass;

 public:
  __device__ ImageFetch(const WeightProduct& p, int first_n, int first_k)
      : row_(static_cast<int>(threadIdx.x) / Tile::n),
        column_(static_cast<int>(threadIdx.x) % Tile::n),
        image_(p, first_n + column_) {
#pragma unroll
    for (int j = 0; j < rows; ++j) at_[j] = image_.row(first_k + row_ + j * pass);
  }
  __device__ __forceinline__ void fetch() {
#pragma unroll
    for (int j = 0; j < rows; ++j) {
      value_[j] = image_.inside(at_[j]) ? to_float(*image_.at(at_[j])) : 0.0f;
      image_.advance(at_[j]);
    }
  }
  __device__ __forceinline__ void put(float* tile) const {
#pragma unroll
    for (int j = 0; j < rows; ++j) tile[(row_ + j * pass) * Tile::n_stride + column_] = value_[j];
  }

 private:
  int row_, column_;
  Descent<T> image_;
  typename Descent<T>::Row at_[rows];
  float value_[rows];
};

template <class T, class Tile>
struct BothFetch {
  GradientFetch<T, Tile>& gradient;
  ImageFetch<T, Tile>& image;
  __device__ __forceinline__ void fetch() { gradient.fetch(), image.fetch(); }
  __device__ __forceinline__ void put(float* tile_a, float* tile_b) const {
    gradient.put(tile_a);
    image.put(tile_b);
  }
};

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::threads, 2)
    weight_grad_tiled(WeightProduct p, int tiles_n, int blocks) {
  ITO_SHARED(FourFloats, vectors_of_stages, [2 * Tile::stage / 4]);
  float* shared = reinterpret_cast<float*>(vectors_of_stages);
  const int tile = static_cast<int>(blockIdx.x), split = static_cast<int>(blockIdx.y);
  const int first_m = tile / tiles_n * Tile::m, first_n = tile % tiles_n * Tile::n;
  const int begin = split * blocks, all = ceil_div(p.c.pixels, Tile::k);
  GradientFetch<T, Tile> gradient(p, first_m, begin * Tile::k);
  ImageFetch<T, Tile> image(p, first_n, begin * Tile::k);
  BothFetch<T, Tile> loader{gradient, image};
  float sums[Tile::rows][Tile::columns] = {};
  multiply<Tile>(loader, min(all - begin, blocks), shared, sums);
  const int columns = p.c.depth();
  for_rows<Tile>(sums, [&](int row, int column, float(&values)[4]) {
    const int m = first_m + row, n = first_n + column;
    if (m < p.c.out && n < columns) {
      store_partial(p.partial, p.c.out, columns, split, m, n, values);
    }
  });
}

// ---- both --------------------------------------------------------------------------------------

template <class Tile>
void run_kernel(void (*kernel)(WeightProduct, int, int), const WeightProduct& p, int splits,
                std::size_t shared) {
  const int tiles_m = ceil_div(p.c.out, Tile::m);
  const int tiles_n = ceil_div(p.c.depth(), Tile::n);
  const int all = ceil_div(p.c.pixels, Tile::k);
  const dim3 grid(static_cast<unsigned>(tiles_m) * static_cast<unsigned>(tiles_n),
                  static_cast<unsigned>(splits));
  launch(kernel, grid, Tile::threads, shared, p, tiles_n, ceil_div(all, splits));
}

template <class Tile>
void run_tensor_core(const WeightProduct& p, int splits) {
  run_kernel<Tile>(weight_grad<Tile>, p, splits, Tile::shared_bytes);
}
template <class T, class Tile>
void run_tiled(const WeightProduct& p, int splits) {
  run_kernel<Tile>(weight_grad_tiled<T, Tile>, p, splits, 0);
}

struct Variant {
  Partition partition;
  void (*run)(const WeightProduct&, int splits);
};

constexpr int block_k = 32;
template <class Tile>
constexpr Variant on_tensor_cores{{Tile::m, Tile::n, 0}, run_tensor_core<Tile>};
constexpr std::array tensor_core_variants = {
    on_tensor_cores<Tiling<128, 128, block_k, 64, 64, 3, Major::mn>>,
    on_tensor_cores<Tiling<64, 64, block_k, 32, 32, 4, Major::mn>>,
    on_tensor_cores<Tiling<16, 128, block_k, 16, 32, 4, Major::mn>>};

using Large = Registers<128, 128>;
using Small = Registers<64, 64>;
template <class T>
constexpr std::array tiled_variants = {Variant{{Large::m, Large::n, 0}, run_tiled<T, Large>},
                                       Variant{{Small::m, Small::n, 0}, run_tiled<T, Small>}};

template <std::size_t n>
constexpr std::array<Partition, n> partitions_of(const std::array<Variant, n>& variants) {
  std::array<Partition, n> list{};
  for (std::size_t i = 0; i < n; ++i) list[i] = variants[i].partition;
  return list;
}
constexpr auto tensor_core_list = partitions_of(tensor_core_variants);

template <class T, std::size_t n>
void run(WeightProduct p, const std::array<Variant, n>& variants, int k, double rate,
         const Partition& requested, const Conv2dWeightGrad::Args& a) {
  const auto partitions = partitions_of(variants);
  const Partition partition =
      choose_partition({p.c.out, p.c.depth(), p.c.pixels, k, rate}, partitions, requested);
  Scratch<float> partial(std::int64_t{partition.splits} * p.c.out * p.c.depth());
  p.partial = partial.data();
  p.images = k / (p.c.p * p.c.q), p.rows = k % (p.c.p * p.c.q) / p.c.q, p.columns = k % p.c.q;
  for (const Variant& v : variants) {
    if (v.partition.m == partition.m && v.partition.n == partition.n) v.run(p, partition.splits);
  }
  add_weight_splits(p.partial, partition.splits, a.shape, p.c.in, static_cast<T*>(a.dweight));
}

Correlation forward_of(const Conv2dWeightGrad::Args& a, const void* x, int channels) {
  Correlation c = forward_problem({x, nullptr, nullptr, nullptr, nullptr, a.shape, false, a.dtype});
  c.x[0] = {x, channels};
  c.in = c.slab = channels;  // columns in the order of the weights
  return c;
}

}  // namespace

std::span<const Partition> tensor_core_weight_grad_partitions() { return tensor_core_list; }

void tiled(const Conv2dWeightGrad::Args& a, Partition requested) {
  with_element(Conv2dWeightGrad::name, a.dtype, [&]<class T>(T) {
    const WeightProduct p{forward_of(a, a.x, static_cast<int>(a.shape.in)), a.dy,
                          static_cast<int>(a.shape.out), nullptr};
    run<T>(p, tiled_variants<T>, Large::k, f32_rate, requested, a);
  });
}

void tensor_core(const Conv2dWeightGrad::Args& a, Partition requested) {
  if (a.dtype != DType::bf16) {
    throw DTypeError(std::string("conv2d_weight_grad: the tensor-core kernels compute in bf16; "
                                 "got ") +
                     name_of(a.dtype));
  }
  const kernel::ConvShape& s = a.shape;
  const PaddedChannels x(a.x, s.n * s.h * s.w, s.in), dy(a.dy, s.n * s.p * s.q, s.out);
  const WeightProduct p{forward_of(a, x.data(), x.channels()), dy.data(), dy.channels(), nullptr};
  run<bf16>(p, tensor_core_variants, block_k, tensor_core_rate, requested, a);
}

}  // namespace ito::cuda::conv
