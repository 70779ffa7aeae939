#include "nn/attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "nn/module.h"

using namespace ito;

namespace {

constexpr std::int64_t N = 2, H = 3, W = 4, C = 8;

// A block in f64 with an output projection that is not zero.
nn::AttentionBlock make_block(int heads) {
  Rng init(1, Purpose::init);
  nn::AttentionBlock block(C, init, {.heads = heads, .groups = 4});
  nn::to_dtype(block, DType::f64);
  Rng rng(2, Purpose::test);
  nn::for_each_parameter(block, [&](const std::string&, Tensor& t) {
    t.assign(randn(rng, t.shape(), DType::f64) * 0.5);
  });
  return block;
}

Tensor input() {
  Rng rng(7, Purpose::test);
  return randn(rng, {N, H, W, C}, DType::f64);
}

using Vector = std::vector<double>;

Vector naive_linear(const Vector& x, const nn::Linear& layer) {
  const auto w = layer.weight.to_vector<double>(), b = layer.bias.to_vector<double>();
  Vector y(C);
  for (std::size_t o = 0; o < C; ++o) {
    y[o] = b[o];
    for (std::size_t i = 0; i < C; ++i) y[o] += w[o * C + i] * x[i];
  }
  return y;
}

// Section by section from the definition, one sample, O((HW)^2), no library op.
std::vector<Vector> naive_block(std::vector<Vector> x, const nn::AttentionBlock& block) {
  const std::size_t pixels = x.size(), per_group = C / 4;
  const auto weight = block.group_norm.weight.to_vector<double>();
  const auto bias = block.group_norm.bias.to_vector<double>();
  std::vector<Vector> normal = x;
  for (std::size_t g = 0; g < 4; ++g) {
    double mean = 0, var = 0;
    const double count = static_cast<double>(pixels * per_group);
    for (const Vector& p : x) {
      for (std::size_t c = g * per_group; c < (g + 1) * per_group; ++c) mean += p[c] / count;
    }
    for (const Vector& p : x) {
      for (std::size_t c = g * per_group; c < (g + 1) * per_group; ++c) {
        var += (p[c] - mean) * (p[c] - mean) / count;
      }
    }
    for (std::size_t i = 0; i < pixels; ++i) {
      for (std::size_t c = g * per_group; c < (g + 1) * per_group; ++c) {
        normal[i][c] = (x[i][c] - mean) / std::sqrt(var + 1e-6) * weight[c] + bias[c];
      }
    }
  }
  std::vector<Vector> q, k, v, y = x;
  for (const Vector& p : normal) {
    q.push_back(naive_linear(p, block.to_q));
    k.push_back(naive_linear(p, block.to_k));
    v.push_back(naive_linear(p, block.to_v));
  }
  const std::size_t d = C / static_cast<std::size_t>(block.heads);
  for (std::size_t i = 0; i < pixels; ++i) {
    Vector mixed(C, 0.0);
    for (std::size_t h = 0; h < C; h += d) {
      Vector weights(pixels);
      for (std::size_t j = 0; j < pixels; ++j) {
        double score = 0;
        for (std::size_t c = h; c < h + d; ++c) score += q[i][c] * k[j][c];
        weights[j] = std::exp(score / std::sqrt(static_cast<double>(d)));
      }
      const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (std::size_t j = 0; j < pixels; ++j) {
        for (std::size_t c = h; c < h + d; ++c) mixed[c] += weights[j] / total * v[j][c];
      }
    }
    const Vector out = naive_linear(mixed, block.to_out);
    for (std::size_t c = 0; c < C; ++c) y[i][c] += out[c];
  }
  return y;
}

}  // namespace

TEST_CASE("AttentionBlock: equals a loop over all pairs of pixels, for one head and several") {
  for (const int heads : {1, 2, 8}) {
    const auto block = make_block(heads);
    const auto x = input().to_vector<double>();
    const auto y = block(input()).to_vector<double>();
    const std::size_t sample = H * W * C;
    for (std::size_t n = 0; n < N; ++n) {
      std::vector<Vector> pixels;
      for (std::size_t i = 0; i < H * W; ++i) {
        const auto* p = x.data() + n * sample + i * C;
        pixels.emplace_back(p, p + C);
      }
      const auto expected = naive_block(pixels, block);
      double worst = 0;
      for (std::size_t i = 0; i < H * W; ++i) {
        for (std::size_t c = 0; c < C; ++c) {
          worst = std::max(worst, std::abs(y[n * sample + i * C + c] - expected[i][c]));
        }
      }
      CHECK(worst < 1e-12);
    }
  }
}

TEST_CASE("AttentionBlock: softmax rows sum to 1, so a constant value passes through unchanged") {
  auto block = make_block(2);
  block.to_v.weight.fill(0.0);
  block.to_v.bias.fill(1.0);
  block.to_out.weight.fill(0.0);
  auto w = block.to_out.weight.mutable_data<double>();
  for (std::int64_t i = 0; i < C; ++i) w[i * C + i] = 1.0;  // the identity
  block.to_out.bias.fill(0.0);
  const auto rows = (block(input()) - input()).to_vector<double>();
  for (const double r : rows) CHECK(std::abs(r - 1.0) < 1e-14);
}

TEST_CASE("AttentionBlock: permuting the pixels permutes the output") {
  const auto block = make_block(2);
  const Tensor x = reshape(input(), Shape{N, H * W, 1, C});
  // Reverse the pixels by concatenating them one by one from the end.
  const auto reversed = [](const Tensor& t) {
    std::vector<Tensor> parts;
    for (std::int64_t i = H * W; i-- > 0;) parts.push_back(slice(t, 1, i, i + 1));
    return concat(parts, 1);
  };
  const auto a = block(reversed(x)).to_vector<double>();
  const auto b = reversed(block(x)).to_vector<double>();
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < 1e-12);
}

TEST_CASE("AttentionBlock: is exactly the identity when it starts") {
  Rng init(1, Purpose::init), rng(2, Purpose::test);
  const nn::AttentionBlock block(64, init);
  const Tensor x = randn(rng, {2, 4, 4, 64});
  CHECK(block(x).to_vector<float>() == x.to_vector<float>());
}

TEST_CASE("AttentionBlock: gradients of every parameter equal central differences") {
  auto block = make_block(2);
  const Tensor x = parameter(input());
  const auto loss = [&] { return sum(square(block(x))); };
  backward(loss());
  auto all = nn::named_parameters(block);
  all.emplace_back("x", x);
  const NoGrad off;
  for (nn::NamedTensor& named : all) {
    Tensor& t = named.second;
    const auto g = t.grad().to_vector<double>();
    for (std::int64_t i = 0; i < t.numel(); i += 5) {
      double* p = t.mutable_data<double>() + i;
      const double saved = *p, h = 1e-6;
      *p = saved + h;
      const double up = loss().item();
      *p = saved - h;
      const double down = loss().item();
      *p = saved;
      CHECK_MESSAGE(std::abs((up - down) / (2 * h) - g[static_cast<std::size_t>(i)]) <
                        1e-5 + 1e-3 * std::abs(g[static_cast<std::size_t>(i)]),
                    named.first);
    }
  }
}

TEST_CASE("AttentionBlock: heads must divide the channels") {
  Rng init(1, Purpose::init);
  CHECK_THROWS_WITH_AS(nn::AttentionBlock(8, init, {.heads = 3, .groups = 4}),
                       "AttentionBlock: heads must divide channels; got heads = 3, channels = 8",
                       ValueError);
}
