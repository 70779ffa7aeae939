// A small model with every kind of field, shared by the tests of nn/.
#pragma once

#include <optional>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "nn/attention.h"
#include "nn/flat.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace ito::test {

struct TinyBlock {
  nn::GroupNorm norm;
  nn::Conv2d conv;
  std::optional<nn::Conv2d> shortcut;

  TinyBlock(std::int64_t in, std::int64_t out, Rng& init)
      : norm(2, in), conv(in, out, 3, {.padding = 1}, init) {
    if (in != out) shortcut = nn::Conv2d(in, out, 1, {}, init);
  }
  Tensor operator()(const Tensor& x) const {
    return conv(norm.silu(x)) + (shortcut ? (*shortcut)(x) : x);
  }
  template <class V>
  void visit(V&& v) {
    v("norm", norm);
    v("conv", conv);
    v("shortcut", shortcut);
  }
};

struct TinyModel {
  nn::Embedding labels;
  std::vector<TinyBlock> blocks;
  nn::AttentionBlock attention;
  nn::Linear head;
  Tensor unused;  // undefined: has no name

  explicit TinyModel(Rng& init) : labels(3, 4, init) {
    blocks.emplace_back(4, 4, init);
    blocks.emplace_back(4, 6, init);
    attention = nn::AttentionBlock(6, init, {.heads = 2, .groups = 3});
    head = nn::Linear(6, 2, init);
  }
  /// x [N, H, W, 4], ids i64 [N]; returns [N, H, W, 2].
  Tensor operator()(const Tensor& x, const Tensor& ids) const {
    Tensor h = x + reshape(labels(ids), std::vector<std::int64_t>{x.size(0), 1, 1, 4});
    for (const TinyBlock& block : blocks) h = block(h);
    return head(attention(h));
  }
  template <class V>
  void visit(V&& v) {
    v("labels", labels);
    v("blocks", blocks);
    v("attention", attention);
    v("head", head);
    v("unused", unused);
  }
};

inline TinyModel make_tiny_model(std::uint64_t seed = 1) {
  Rng init(seed, Purpose::init);
  return TinyModel(init);
}

/// The parameters of a model that has one tensor.
inline nn::FlatParameters one_parameter(const Tensor& values) {
  return nn::FlatParameters(std::vector<nn::NamedTensor>{{"p", parameter(values.clone())}});
}

}  // namespace ito::test
