#include "nn/attention.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/error.h"
#include "tensor/profile.h"

namespace ito::nn {

AttentionBlock::AttentionBlock(std::int64_t channels, Rng& init, const AttentionOptions& options)
    : group_norm(options.groups, channels, options.eps),
      to_q(channels, channels, init),
      to_k(channels, channels, init),
      to_v(channels, channels, init),
      to_out(channels, channels, init, /*scale=*/0.0),
      heads(options.heads) {
  if (heads < 1 || channels % heads != 0) {
    fail<ValueError>("AttentionBlock: heads must divide channels; got heads = {}, channels = {}",
                     heads, channels);
  }
}

Tensor AttentionBlock::operator()(const Tensor& x) const {
  const profile::Scope scope(this);
  const std::int64_t n = x.size(0), c = x.size(-1);
  const Tensor tokens = reshape(group_norm(x), std::vector<std::int64_t>{n, -1, c});
  const Tensor h = attention(to_q(tokens), to_k(tokens), to_v(tokens), heads);
  return x + reshape(to_out(h), x.shape());
}

}  // namespace ito::nn
