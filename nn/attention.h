// Self-attention over the pixels of an image, as in the U-Net of DDPM.
//
//   nn::AttentionBlock block(256, init);
//   Tensor y = block(x);                       // x, y [N, H, W, 256]
//
// For attention between two sequences, or without the norm and the residual, use ito::attention.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/layers.h"

namespace ito::nn {

struct AttentionOptions {
  int heads = 1;      ///< must divide channels; DDPM has one
  int groups = 32;    ///< of the group norm; must divide channels
  double eps = 1e-6;  ///< of the group norm
};

/// x + to_out(softmax(q k^T / sqrt(d)) v) with q, k, v linear in group_norm(x), where every pixel
/// is a token and d = channels / heads (Ho et al. 2020, appendix B; Vaswani et al. 2017, eq. 1).
/// The output projection starts at zero, so that the block starts as the identity.
struct AttentionBlock {
  GroupNorm group_norm;
  Linear to_q, to_k, to_v, to_out;  ///< [channels, channels]
  int heads = 1;

  AttentionBlock() = default;
  /// Throws ValueError when heads or groups does not divide channels.
  AttentionBlock(std::int64_t channels, Rng& init, const AttentionOptions& options = {});
  /// x [N, H, W, C] (or [N, ..., C]); returns the shape of x.
  Tensor operator()(const Tensor& x) const;

  template <class V>
  void visit(V&& v) {
    v("group_norm", group_norm);
    v("to_q", to_q);
    v("to_k", to_k);
    v("to_v", to_v);
    v("to_out.0", to_out);
  }
};

}  // namespace ito::nn
