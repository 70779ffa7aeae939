// Every rung of attention and its gradient against the CPU's kernel in f64.
//
// Inputs are exact in bf16, so the f64 result is the true one. Sums are f32 in every rung: a
// product of d terms of at most 1 passes through at most d + 8 additions, so a score is off by
// 2^-24 (d + 8) sqrt(d) or less, and a probability by that factor, twice with its sum's. The
// tensor-core rung also rounds probabilities and dS to bf16 (2^-9) for the second product; its
// pairs get 2^-8. These errors of a pair of a query and a key are summed up as the results are.
#include "cuda/attention.h"

#include <array>
#include <limits>

#include "tests/cuda/rungs.h"

namespace ito {
namespace {

namespace attention = cuda::attention;
using namespace testing;
using kernel::AttentionShape;

enum class Which { naive, tiled, tensor_core };

template <class Args>
bool takes(Which which, const Args& args) {
  if (which == Which::tiled) return attention::can_use_tiled(args);
  if (which == Which::tensor_core) return attention::can_use_tensor_core(args);
  return true;
}

template <class Args>
void call(Which which, const Args& args) {
  if (which == Which::naive) attention::naive(args);
  if (which == Which::tiled) attention::tiled(args);
  if (which == Which::tensor_core) attention::tensor_core(args);
}

enum class Mask { none, shared, per_sample };

struct Problem {
  std::int64_t n, l, s, heads, d;
  Mask mask = Mask::none;
  std::int64_t skip = 0;  // elements: misaligns the device's arrays

  AttentionShape shape() const {
    return {n, l, s, heads, d, 1.0 / std::sqrt(static_cast<double>(d)), mask == Mask::per_sample};
  }
  std::int64_t queries() const { return n * l * heads * d; }
  std::int64_t keys() const { return n * s * heads * d; }
  std::int64_t rows() const { return n * heads * l; }
};

struct Inputs {
  Values q, k, v, dy, mask;
  explicit Inputs(const Problem& p)
      : q(random_values(p.queries(), 1)),
        k(random_values(p.keys(), 2)),
        v(random_values(p.keys(), 3)),
        dy(random_values(p.queries(), 4)) {
    if (p.mask == Mask::none) return;
    // A third of the keys hidden, and all of the first query's and of the last.
    mask = random_values((p.mask == Mask::per_sample ? p.n : 1) * p.l * p.s, 5);
    const auto s = static_cast<std::size_t>(p.s);
    for (std::size_t i = 0; i < mask.size(); ++i) {
      const bool whole_row = i < s || i + s >= mask.size();
      if (mask[i] < -0.33 || whole_row) mask[i] = -std::numeric_limits<double>::infinity();
    }
  }
};

struct Outputs {
  Values y, lse, dq, dk, dv;
  bool operator==(const Outputs&) const = default;
};

Values nothing(std::int64_t count) { return Values(static_cast<std::size_t>(count)); }

Outputs on_cpu(const Problem& p, const Inputs& in) {
  Outputs out{nothing(p.queries()), nothing(p.rows()), nothing(p.queries()), nothing(p.keys()),
              nothing(p.keys())};
  const void* mask = in.mask.empty() ? nullptr : in.mask.data();
  kernel::Attention::cpu({in.q.data(), in.k.data(), in.v.data(), mask, out.y.data(), out.lse.data(),
                          p.shape(), DType::f64});
  kernel::AttentionGrad::cpu({in.q.data(), in.k.data(), in.v.data(), mask, out.y.data(),
                              out.lse.data(), in.dy.data(), out.dq.data(), out.dk.data(),
                              out.dv.data(), p.shape(), DType::f64});
  return out;
}

// The rung's results; whether it takes the arguments.
std::pair<Outputs, bool> on_rung(Which which, const Problem& p, const Inputs& in, DType dtype) {
  const Tensor q = on_device(in.q, dtype, p.skip), k = on_device(in.k, dtype, p.skip),
               v = on_device(in.v, dtype, p.skip), dy = on_device(in.dy, dtype, p.skip),
               mask = on_device(in.mask, dtype, 1);
  const void* mask_data = in.mask.empty() ? nullptr : mask.raw();
  Tensor y = unset(p.queries(), dtype, p.skip), lse = unset(p.rows(), DType::f32),
         dq = unset(p.queries(), dtype, p.skip), dk = unset(p.keys(), dtype, p.skip),
         dv = unset(p.keys(), dtype, p.skip);
  const attention::Forward forward{q.raw(),         k.raw(),           v.raw(),   mask_data,
                                   y.mutable_raw(), lse.mutable_raw(), p.shape(), dtype};
  const attention::Gradient gradient{
      q.raw(),  k.raw(),          v.raw(),          mask_data,        y.raw(),   lse.raw(),
      dy.raw(), dq.mutable_raw(), dk.mutable_raw(), dv.mutable_raw(), p.shape(), dtype};
  if (!takes(which, forward) || !takes(which, gradient)) return {{}, false};
  call(which, forward);
  call(which, gradient);
  return {{on_host(y), on_host(lse), on_host(dq), on_host(dk), on_host(dv)}, true};
}

std::string text(const Problem& p, Which which, DType dtype) {
  const char* names[] = {"naive", "tiled", "tensor core"};
  return fmt::format("{} {} n {} l {} s {} heads {} d {} mask {}", names[static_cast<int>(which)],
                     name_of(dtype), p.n, p.l, p.s, p.heads, p.d, static_cast<int>(p.mask));
}

// Bounds of the errors of y and the gradients: the definition's sums over pairs of a query and a
// key, with absolute values. `score` is a score's error, `pair` the relative error of what a pair
// contributes, `u` the rounding of y, which enters the gradient as stored.
Outputs bounds(const Problem& p, const Inputs& in, const Outputs& exact, double score, double pair,
               double u) {
  Outputs bound{nothing(p.queries()), Values(exact.lse.size(), score), nothing(p.queries()),
                nothing(p.keys()), nothing(p.keys())};
  const double scale = p.shape().scale, rounding = std::ldexp(static_cast<double>(p.d), -24);
  const auto at = [&](std::int64_t n, std::int64_t row, std::int64_t length, std::int64_t h) {
    return static_cast<std::size_t>(((n * length + row) * p.heads + h) * p.d);
  };
  const auto for_pairs = [&](auto f) {
    for (std::int64_t n = 0; n < p.n; ++n) {
      for (std::int64_t h = 0; h < p.heads; ++h) {
        for (std::int64_t i = 0; i < p.l; ++i) {
          for (std::int64_t j = 0; j < p.s; ++j) f(n, h, i, j, at(n, i, p.l, h), at(n, j, p.s, h));
        }
      }
    }
  };
  const auto d = static_cast<std::size_t>(p.d);
  for_pairs([&](auto n, auto h, auto i, auto j, std::size_t q, std::size_t k) {
    const double lse = exact.lse[static_cast<std::size_t>((n * p.heads + h) * p.l + i)];
    if (std::isinf(lse)) return;
    double product = 0.0, dp = 0.0, dy_y = 0.0;
    for (std::size_t c = 0; c < d; ++c) {
      product += in.q[q + c] * in.k[k + c];
      dp += std::abs(in.dy[q + c] * in.v[k + c]);
      dy_y += std::abs(in.dy[q + c] * exact.y[q + c]);
    }
    const std::int64_t row = (p.mask == Mask::per_sample ? n * p.l : 0) + i;
    const double m = in.mask.empty() ? 0.0 : in.mask[static_cast<std::size_t>(row * p.s + j)];
    const double prob = std::exp(scale * product + m - lse);
    const double ds = prob * scale * ((pair + rounding) * (dp + dy_y) + u * dy_y);
    for (std::size_t c = 0; c < d; ++c) {
      bound.y[q + c] += pair * prob * std::abs(in.v[k + c]);
      bound.dv[k + c] += pair * prob * std::abs(in.dy[q + c]);
      bound.dq[q + c] += ds * std::abs(in.k[k + c]);
      bound.dk[k + c] += ds * std::abs(in.q[q + c]);
    }
  });
  return bound;
}

// Whether the rung took the problem.
bool check_rung(Which which, const Problem& p, DType dtype) {
  const Inputs in(p);
  const auto [got, taken] = on_rung(which, p, in, dtype);
  if (!taken) return false;
  const Outputs wanted = on_cpu(p, in);
  const std::string what = text(p, which, dtype);
  const double u = rounding_of(dtype), d = static_cast<double>(p.d);
  const double score = std::ldexp(d + 8.0, -24) * std::sqrt(d);
  const double sums = std::ldexp(static_cast<double>(p.l + p.s), -24);
  const double pair =
      2.0 * score + sums + (which == Which::tensor_core ? std::ldexp(1.0, -8) : 0.0);
  const Outputs bound = bounds(p, in, wanted, score + sums, pair, u);
  check_close(what + ", lse", got.lse, wanted.lse, std::ldexp(1.0, -22), bound.lse);
  check_close(what + ", y", got.y, wanted.y, u, bound.y);
  check_close(what + ", dq", got.dq, wanted.dq, u, bound.dq);
  check_close(what + ", dk", got.dk, wanted.dk, u, bound.dk);
  check_close(what + ", dv", got.dv, wanted.dv, u, bound.dv);
  return true;
}

// Tokens of 7x7 and 4x4 maps, one token, lengths around a tile's, cross-attention both ways, heads
// of 8 to 256 channels.
std::vector<Problem> problems() {
  return {
      {2, 49, 49, 1, 64}, {1, 16, 16, 1, 256}, {3, 1, 1, 1, 8},
      {1, 65, 64, 2, 32}, {1, 33, 70, 1, 40},  {2, 20, 5, 3, 24},
      {1, 5, 131, 1, 16}, {1, 70, 37, 1, 128}, {1, 40, 67, 1, 200},
  };
}

constexpr std::array all{Which::naive, Which::tiled, Which::tensor_core};

void check_all(const Problem& p, std::initializer_list<Which> rungs) {
  for (const Which which : rungs) {
    if (which != Which::tensor_core) CHECK(check_rung(which, p, DType::f32));
    CHECK(check_rung(which, p, DType::bf16));
  }
}

}  // namespace

TEST_CASE("Attention and its gradient on every rung equal the CPU's in f64") {
  if (!device_answers()) return;
  for (const Problem& p : problems()) {
    check_all(p, {Which::naive, Which::tiled, Which::tensor_core});
  }
}

TEST_CASE("Attention with masks: hidden keys, hidden rows, one mask or one per sample") {
  if (!device_answers()) return;
  for (const Mask mask : {Mask::shared, Mask::per_sample}) {
    check_all({2, 35, 66, 2, 16, mask}, {Which::naive, Which::tiled, Which::tensor_core});
    check_all({2, 66, 9, 1, 40, mask}, {Which::naive, Which::tiled, Which::tensor_core});
  }
}

TEST_CASE("Heads of any number of channels: tensor cores take multiples of 8, tiles up to 256") {
  if (!device_answers()) return;
  for (const std::int64_t d : {1, 7, 65}) {
    check_all({2, 6, 5, 2, d}, {Which::naive, Which::tiled});
    CHECK(!check_rung(Which::tensor_core, {2, 6, 5, 2, d}, DType::bf16));
  }
  check_all({1, 3, 5, 1, 300}, {Which::naive});
  CHECK(!check_rung(Which::tiled, {1, 3, 5, 1, 300}, DType::f32));
  CHECK(!check_rung(Which::tensor_core, {1, 3, 5, 1, 264}, DType::bf16));
  CHECK(!check_rung(Which::tensor_core, {1, 6, 5, 1, 16}, DType::f32));
}

TEST_CASE("Arrays that begin anywhere go to the rungs without vectors") {
  if (!device_answers()) return;
  const Problem p{1, 6, 5, 1, 16, Mask::none, 1};
  check_all(p, {Which::naive, Which::tiled});
  CHECK(!check_rung(Which::tensor_core, p, DType::bf16));
}

TEST_CASE("Attention over no keys gives zeros, and gradients of no queries are zeros") {
  if (!device_answers()) return;
  for (const Which which : all) {
    const Problem no_keys{1, 3, 0, 1, 8}, no_queries{1, 0, 3, 1, 8};
    const Outputs a = on_rung(which, no_keys, Inputs(no_keys), DType::bf16).first;
    CHECK(a.y == nothing(24));
    CHECK(a.dq == nothing(24));
    const Outputs b = on_rung(which, no_queries, Inputs(no_queries), DType::bf16).first;
    CHECK(b.dk == nothing(24));
    CHECK(b.dv == nothing(24));
  }
}

TEST_CASE("Attention has the same bits in every run and under every order of threads") {
  if (!device_answers()) return;
  const Problem p{2, 40, 70, 2, 16, Mask::shared};
  const Inputs in(p);
  for (const Which which : all) {
    const Outputs first = on_rung(which, p, in, DType::bf16).first;
    for_each_order([&] { CHECK(on_rung(which, p, in, DType::bf16).first == first); });
  }
}

}  // namespace ito
