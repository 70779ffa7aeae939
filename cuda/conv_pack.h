// Before and after the matrix products of convolution: problems are set up, weights are put into
// the order in which the products read them, channels are padded, split sums are added.
#pragma once

#include <optional>
#include <vector>

#include "cuda/conv.h"
#include "cuda/conv_problem.h"

namespace ito::cuda::conv {

/// Rows of channels, padded with zeros to a multiple of 8 and aligned to 16 bytes: the array itself
/// where it is so already, else a copy. Two arrays side by side stay two where both are so.
class PaddedChannels {
 public:
  PaddedChannels(const void* data, std::int64_t rows, std::int64_t channels,
                 const void* data2 = nullptr, std::int64_t channels2 = 0);
  const bf16* data() const { return static_cast<const bf16*>(source_[0].data); }
  const Source& source(int i) const { return source_[i]; }
  int channels() const { return source_[0].channels + source_[1].channels; }

 private:
  std::optional<Scratch<bf16>> copy_;
  Source source_[2];
};

/// The forward pass as a correlation of x [n, h, w, in] with weight [out, kh, kw, in].
Correlation forward_problem(const kernel::Conv2d::Args&);

/// The input gradient at stride s, as correlations of dy at stride 1 (see kernel::InputGradPhase):
/// one problem for each pair of phases (a, b) of rows and columns that has pixels, on weights [in,
/// taps, out] in one array made by `pack_flipped`. `channels`: of a pixel of dy, out or more.
std::vector<Correlation> input_grad_problems(const kernel::Conv2dInputGrad::Args&, const void* dy,
                                             const void* packed, int channels);

/// packed: for each pair of phases (a, b) in turn [in, taps of a, taps of b, channels], channels
/// beyond out zero. in kh kw channels elements in all.
template <class T>
void pack_flipped(const T* weight, const kernel::ConvShape& shape, int channels, T* packed);

/// y = the sums of `splits` parts in c.partial, in order, with bias and addend.
template <class T>
void add_splits(const Correlation& c, int splits);

/// dweight [out, taps, in] = the sums of partial [splits, out, taps, channels] over splits, in
/// order; channels >= in.
template <class T>
void add_weight_splits(const float* partial, int splits, const kernel::ConvShape& shape,
                       int channels, T* dweight);

/// Whether store_result may store N elements of T at once.
template <class T>
bool can_use_vectors(const Correlation& c, int n) {
  const auto aligned = [n](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % (static_cast<std::size_t>(n) * sizeof(T)) == 0;
  };
  return c.out % n == 0 && c.pixel_step % n == 0 && c.row_step % n == 0 && c.image_step % n == 0 &&
         aligned(c.y) && aligned(c.bias) && aligned(c.addend);
}

/// A matrix product of m x n, summed over k in blocks of block_k, on multiprocessors that do `rate`
/// floating-point operations per microsecond.
struct Product {
  std::int64_t m, n, k;
  int block_k;
  double rate;
};
/// What one multiprocessor of an H200 reaches at best: dense bf16 products and f32 multiply-adds.
constexpr double tensor_core_rate = 790e6 / 132, f32_rate = 60e6 / 132;

/// The cheapest of `tiles` and of the numbers of splits, by a model that is explained in
/// conv_pack.cu; where `requested` is not zero, as it says. A function of the shape and the device
/// only. Throws ValueError when the requested tile is not among `tiles`.
Partition choose_partition(const Product& product, std::span<const Partition> tiles,
                           const Partition& requested);

}  // namespace ito::cuda::conv
