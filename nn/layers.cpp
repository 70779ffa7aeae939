#include "nn/layers.h"

#include "autograd/engine.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/norm.h"
#include "nn/init.h"
#include "nn/module.h"
#include "tensor/check.h"
#include "tensor/profile.h"

namespace ito::nn {
namespace {

void expect_positive(const char* layer, const char* name, std::int64_t value) {
  if (value < 1) fail<ValueError>("{}: {} must be at least 1; got {}", layer, name, value);
}

}  // namespace

Tensor detail::converted_parameter(const Tensor& t, DType dtype) {
  return parameter(ito::cast(detach(t), dtype));
}

Linear::Linear(std::int64_t in, std::int64_t out, Rng& init, double scale) {
  expect_positive("Linear", "in", in);
  expect_positive("Linear", "out", out);
  weight = init::variance_scaling(init, {out, in}, scale);
  bias = init::zeros({out});
}

Tensor Linear::operator()(const Tensor& x) const {
  const profile::Scope scope(this);
  return linear(x, weight, bias);
}

Conv2d::Conv2d(std::int64_t in, std::int64_t out, int kernel, Conv2dOptions opts, Rng& init,
               double scale)
    : options(opts) {
  expect_positive("Conv2d", "in", in);
  expect_positive("Conv2d", "out", out);
  expect_positive("Conv2d", "kernel", kernel);
  weight = init::variance_scaling(init, {out, kernel, kernel, in}, scale);
  bias = init::zeros({out});
}

Tensor Conv2d::operator()(const Tensor& x) const {
  const profile::Scope scope(this);
  return conv2d(x, weight, bias, options);
}

Tensor Conv2d::operator()(const Tensor& x, const Tensor& x2) const {
  const profile::Scope scope(this);
  return conv2d_concat(x, x2, weight, bias, options);
}

Tensor Conv2d::plus(const Tensor& x, const Tensor& addend) const {
  const profile::Scope scope(this);
  return conv2d_add(x, weight, bias, addend, options);
}

GroupNorm::GroupNorm(int groups_, std::int64_t channels, double eps_) : groups(groups_), eps(eps_) {
  expect_positive("GroupNorm", "groups", groups);
  expect_positive("GroupNorm", "channels", channels);
  if (channels % groups != 0) {
    fail<ValueError>("GroupNorm: groups must divide channels; got groups = {}, channels = {}",
                     groups, channels);
  }
  weight = init::ones({channels});
  bias = init::zeros({channels});
}

Tensor GroupNorm::operator()(const Tensor& x) const {
  const profile::Scope scope(this);
  return group_norm(x, groups, weight, bias, eps);
}

Tensor GroupNorm::silu(const Tensor& x) const {
  const profile::Scope scope(this);
  return group_norm_silu(x, groups, weight, bias, eps);
}

Tensor GroupNorm::silu(const Tensor& x, const Tensor& x2) const {
  const profile::Scope scope(this);
  return group_norm_silu_concat(x, x2, groups, weight, bias, eps);
}

Embedding::Embedding(std::int64_t count, std::int64_t channels, Rng& init) {
  expect_positive("Embedding", "count", count);
  expect_positive("Embedding", "channels", channels);
  weight = init::normal(init, {count, channels});
}

Tensor Embedding::operator()(const Tensor& ids) const {
  const profile::Scope scope(this);
  return embedding(weight, ids);
}

}  // namespace ito::nn
