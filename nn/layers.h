// Layers with parameters. Each is a struct of tensors and an operator(); the arithmetic is in
// autograd/ops/, and functions without parameters (silu, dropout, avg_pool) are used as they are.
//
//   Rng init(seed, Purpose::init);
//   nn::Conv2d conv(3, 64, 3, {.padding = 1}, init);
//   nn::GroupNorm norm(32, 64);
//   Tensor h = norm.silu(conv(x));             // x [N, H, W, 3], h [N, H, W, 64]
//
// A default-constructed layer has no parameters and is not to be called; it stands for a layer that
// a network may leave out.
#pragma once

#include <cstdint>

#include "autograd/ops/conv.h"
#include "tensor/rng.h"

namespace ito::nn {

/// x weight^T + bias on the last axis: x [..., in] to [..., out].
struct Linear {
  Tensor weight;  ///< [out, in], variance scaling with `scale`; 0 gives zeros (init.h)
  Tensor bias;    ///< [out], zeros

  Linear() = default;
  Linear(std::int64_t in, std::int64_t out, Rng& init, double scale = 1.0);
  Tensor operator()(const Tensor& x) const;

  template <class V>
  void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

/// Convolution of images [N, H, W, in] to [N, P, Q, out]; see conv2d for P and Q.
struct Conv2d {
  Tensor weight;  ///< [out, kernel, kernel, in], variance scaling with `scale`; 0 gives zeros
  Tensor bias;    ///< [out], zeros
  Conv2dOptions options;

  Conv2d() = default;
  Conv2d(std::int64_t in, std::int64_t out, int kernel, Conv2dOptions options, Rng& init,
         double scale = 1.0);
  Tensor operator()(const Tensor& x) const;
  /// (*this)(concat({x, x2})), without a copy.
  Tensor operator()(const Tensor& x, const Tensor& x2) const;
  /// (*this)(x) + addend in one pass; addend [N, P, Q, out], or [N, 1, 1, out] for every pixel.
  Tensor plus(const Tensor& x, const Tensor& addend) const;

  template <class V>
  void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

/// Group normalisation of [N, ..., channels] with a learned scale and shift per channel.
struct GroupNorm {
  Tensor weight;  ///< [channels], ones
  Tensor bias;    ///< [channels], zeros
  int groups = 1;
  double eps = 1e-6;

  GroupNorm() = default;
  /// Throws ValueError unless groups divides channels.
  GroupNorm(int groups, std::int64_t channels, double eps = 1e-6);
  Tensor operator()(const Tensor& x) const;
  /// silu of the normalised values, in one pass.
  Tensor silu(const Tensor& x) const;
  /// silu(concat({x, x2})), on the device without a copy.
  Tensor silu(const Tensor& x, const Tensor& x2) const;

  template <class V>
  void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

/// A learned vector for each id: ids i64 [N] to [N, channels].
struct Embedding {
  Tensor weight;  ///< [count, channels], normal with standard deviation 1

  Embedding() = default;
  Embedding(std::int64_t count, std::int64_t channels, Rng& init);
  Tensor operator()(const Tensor& ids) const;

  template <class V>
  void visit(V&& v) {
    v("weight", weight);
  }
};

}  // namespace ito::nn
