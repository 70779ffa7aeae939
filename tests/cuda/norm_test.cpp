// Every rung of group norm and its gradient against the CPU's kernel in f64.
//
// Inputs are exact in bf16 (or, far from zero, in f32), so the f64 result is the true one, and the
// device's errors are those of its f32 sums, of the functions and of the last rounding, u. A sum
// passes through at most 64 additions one behind the other, so it is right to 64 * 2^-24 = 2^-18 of
// the sum of its terms' absolute values (half of that is enough for means: errors of opposite
// sign).
#include "cuda/norm.h"

#include <array>
#include <functional>

#include "tests/cuda/rungs.h"

namespace ito {
namespace {

namespace norm = cuda::norm;
using namespace testing;
using kernel::GroupNormShape;

enum class Which { naive, streaming, slab };

template <class Args>
bool takes(Which which, const Args& args) {
  if (which == Which::streaming) return norm::can_use_streaming(args);
  if (which == Which::slab) return norm::can_use_slab(args);
  return true;
}

template <class Args>
void call(Which which, const Args& args) {
  if (which == Which::naive) norm::naive(args);
  if (which == Which::streaming) norm::streaming(args);
  if (which == Which::slab) norm::slab(args);
}

struct Problem {
  GroupNormShape shape;
  bool silu = true;
  double offset = 0.0;    // of x
  std::int64_t skip = 0;  // elements: misaligns the device's arrays
  double eps = 1e-6;

  std::int64_t count() const { return shape.n * shape.positions * shape.channels; }
  std::int64_t sums() const { return shape.n * shape.groups * 2; }
};

struct Inputs {
  Values x, dy, weight, bias;
  explicit Inputs(const Problem& p)
      : x(random_values(p.count(), 1, p.offset)),
        dy(random_values(p.count(), 2)),
        weight(random_values(p.shape.channels, 3, 0.5)),
        bias(random_values(p.shape.channels, 4)) {}
};

struct Outputs {
  Values y, statistics, dx, dweight, dbias;
};

Values nothing(std::int64_t count) { return Values(static_cast<std::size_t>(count)); }

Outputs on_cpu(const Problem& p, const Inputs& in) {
  GroupNormShape s = p.shape;
  s.x2_channels = 0;
  Outputs out{nothing(p.count()), nothing(p.sums()), nothing(p.count()), nothing(s.channels),
              nothing(s.channels)};
  Values partial = nothing(s.n * 2 * s.channels);
  kernel::GroupNorm::cpu({in.x.data(), in.weight.data(), in.bias.data(), out.y.data(),
                          out.statistics.data(), s, p.eps, p.silu, DType::f64});
  kernel::GroupNormGrad::cpu({in.x.data(), in.dy.data(), in.weight.data(), in.bias.data(),
                              out.statistics.data(), out.dx.data(), out.dweight.data(),
                              out.dbias.data(), partial.data(), s, p.silu, DType::f64});
  return out;
}

// [n P, C] to its first or its last channels, and back.
Values channels_of(const Values& x, std::int64_t channels, std::int64_t first, std::int64_t end) {
  Values part;
  for (std::size_t row = 0; row < x.size(); row += static_cast<std::size_t>(channels)) {
    for (std::int64_t c = first; c < end; ++c) part.push_back(x[row + static_cast<std::size_t>(c)]);
  }
  return part;
}
Values joined(const Values& a, std::int64_t channels_a, const Values& b, std::int64_t channels_b) {
  if (channels_b == 0) return a;
  Values all;
  for (std::size_t row = 0; row < a.size() / static_cast<std::size_t>(channels_a); ++row) {
    for (std::int64_t c = 0; c < channels_a; ++c) {
      all.push_back(a[row * static_cast<std::size_t>(channels_a) + static_cast<std::size_t>(c)]);
    }
    for (std::int64_t c = 0; c < channels_b; ++c) {
      all.push_back(b[row * static_cast<std::size_t>(channels_b) + static_cast<std::size_t>(c)]);
    }
  }
  return all;
}

// The rung's results; empty where it does not take the arguments.
std::pair<Outputs, bool> on_rung(Which which, const Problem& p, const Inputs& in, DType dtype) {
  const GroupNormShape& s = p.shape;
  const std::int64_t first = s.channels - s.x2_channels, pixels = s.n * s.positions;
  const Tensor x = on_device(channels_of(in.x, s.channels, 0, first), dtype, p.skip);
  const Tensor x2 = on_device(channels_of(in.x, s.channels, first, s.channels), dtype, p.skip);
  const Tensor dy = on_device(in.dy, dtype, p.skip), weight = on_device(in.weight, dtype, 1),
               bias = on_device(in.bias, dtype, 1);
  Tensor y = unset(p.count(), dtype, p.skip), statistics = unset(p.sums(), DType::f32);
  Tensor dx = unset(pixels * first, dtype, p.skip),
         dx2 = unset(pixels * s.x2_channels, dtype, p.skip);
  Tensor dweight = unset(s.channels, dtype), dbias = unset(s.channels, dtype);
  Tensor partial = unset(s.n * 2 * s.channels, DType::f32);
  const norm::Forward forward{
      x.raw(), weight.raw(), bias.raw(), y.mutable_raw(), statistics.mutable_raw(),
      s,       p.eps,        p.silu,     dtype,           s.x2_channels > 0 ? x2.raw() : nullptr};
  const norm::Gradient gradient{x.raw(),
                                dy.raw(),
                                weight.raw(),
                                bias.raw(),
                                statistics.raw(),
                                dx.mutable_raw(),
                                dweight.mutable_raw(),
                                dbias.mutable_raw(),
                                partial.mutable_raw(),
                                s,
                                p.silu,
                                dtype,
                                s.x2_channels > 0 ? x2.raw() : nullptr,
                                s.x2_channels > 0 ? dx2.mutable_raw() : nullptr};
  if (!takes(which, forward) || !takes(which, gradient)) return {{}, false};
  call(which, forward);
  call(which, gradient);
  return {{on_host(y), on_host(statistics), joined(on_host(dx), first, on_host(dx2), s.x2_channels),
           on_host(dweight), on_host(dbias)},
          true};
}

std::string text(const Problem& p, Which which, DType dtype) {
  const char* names[] = {"naive", "streaming", "slab"};
  return fmt::format("{} {} n {} positions {} channels {} + {} groups {}{}",
                     names[static_cast<int>(which)], name_of(dtype), p.shape.n, p.shape.positions,
                     p.shape.channels - p.shape.x2_channels, p.shape.x2_channels, p.shape.groups,
                     p.silu ? " silu" : "");
}

// Whether the rung took the problem.
bool check_rung(Which which, const Problem& p, DType dtype) {
  const Inputs in(p);
  const auto [got, taken] = on_rung(which, p, in, dtype);
  if (!taken) return false;
  const Outputs wanted = on_cpu(p, in);
  const std::string what = text(p, which, dtype);
  const double u = rounding_of(dtype), sum = std::ldexp(1.0, -18);
  double rstd = 0.0;
  for (std::size_t i = 1; i < wanted.statistics.size(); i += 2) {
    rstd = std::max(rstd, wanted.statistics[i]);
  }
  // The mean is off by 2^-19 of |x|, and that, times rstd weight, is y's error; silu at most
  // multiplies it by 1.1. rstd itself is right to 2^-18.
  const double gamma = largest(in.weight), x = largest(in.x), spread = x - std::abs(p.offset);
  const double mean_error = 0.5 * sum * x;
  check_close(what + ", statistics", got.statistics, wanted.statistics, sum, mean_error);
  const double y_error = 1.1 * rstd * gamma * (mean_error + sum * spread);
  check_close(what + ", y", got.y, wanted.y, u, y_error);
  // dz depends on z, with |d dz / d z| <= 1/2 |dy|; bf16's slab keeps dz rounded.
  const double dz = 1.1 * largest(in.dy), xh = rstd * 2.0 * spread;
  const double dz_error = p.silu ? 0.5 * y_error + (dtype == DType::bf16 ? u * dz : 0.0) : 0.0;
  const double xh_error = rstd * (mean_error + sum * spread);
  const double rows = static_cast<double>(p.shape.n * p.shape.positions);
  check_close(what + ", dbias", got.dbias, wanted.dbias, u, rows * (sum * dz + 0.5 * y_error));
  check_close(what + ", dweight", got.dweight, wanted.dweight, u,
              rows * (sum * dz * xh + 0.5 * y_error * xh + dz * xh_error));
  // dx = rstd (dz weight - mean of that - xh mean of that xh): three terms, each as large as dz
  // weight or that times xh^2, where a mean's |xh| is at most 1.
  const double dx_error =
      rstd * gamma * (dz_error * (2.0 + xh) + dz * (sum * (2.0 + 2.0 * xh) + 3.0 * xh_error));
  check_close(what + ", dx", got.dx, wanted.dx, u, dx_error);
  return true;
}

// 12 channels per group as in 384 channels of 32 groups, groups of one channel, one group, 7x7 and
// 4x4 maps, one image, one position, groups and channels that no vector divides, slabs of several
// widths of which the last is narrower.
std::vector<Problem> problems() {
  return {
      {{2, 49, 24, 2}},  {{3, 16, 64, 32}}, {{1, 49, 32, 32}}, {{2, 16, 48, 1}},
      {{1, 100, 96, 8}}, {{2, 7, 6, 3}},    {{2, 9, 40, 8}},   {{3, 1, 8, 2}},
      {{1, 5, 3, 1}},    {{2, 33, 80, 10}}, {{1, 300, 16, 4}}, {{1, 64, 176, 11}},
      {{2, 4, 520, 1}},  {{1, 49, 33, 11}}, {{1, 2, 384, 32}},
  };
}

constexpr std::array all{Which::naive, Which::streaming, Which::slab};

}  // namespace

TEST_CASE("Group norm and its gradient on every rung equal the CPU's in f64") {
  if (!device_answers()) return;
  for (Problem p : problems()) {
    for (const bool silu : {false, true}) {
      p.silu = silu;
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const Which which : all) CHECK(check_rung(which, p, dtype));
      }
    }
  }
}

TEST_CASE("Group norm of arrays that begin anywhere is the same") {
  if (!device_answers()) return;
  for (const Which which : all) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CHECK(check_rung(which, {.shape = {2, 9, 32, 4}, .skip = 1}, dtype));
      CHECK(check_rung(which, {.shape = {2, 9, 32, 4}, .skip = 4}, dtype));
    }
  }
}

TEST_CASE("The variance survives a mean of 1000 standard deviations") {
  if (!device_answers()) return;
  // u of 1000 squared is 6 % of the variance: mean(x^2) - mean^2 would be noise.
  for (const Which which : all) {
    CHECK(check_rung(which, {.shape = {2, 64, 16, 4}, .offset = 1000.0}, DType::f32));
  }
}

TEST_CASE("Two arrays are normalised as their concatenation, whichever group the border tilings") {
  if (!device_answers()) return;
  for (const Which which : all) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CHECK(check_rung(which, {.shape = {2, 16, 48, 4, 16}}, dtype));  // in a group, 8 and 4
      CHECK(check_rung(which, {.shape = {1, 9, 96, 8, 32}}, dtype));
      CHECK(check_rung(which, {.shape = {2, 9, 32, 4, 16}}, dtype));  // between groups
      CHECK(check_rung(which, {.shape = {2, 9, 32, 2, 5}}, dtype));   // in a vector
    }
  }
}

TEST_CASE("A slab of whole 32 bytes that leaves no room for a second is cut at a vector") {
  if (!device_answers()) return;
  CHECK(check_rung(Which::slab, {.shape = {1, 2000, 24, 2}}, DType::f32));
}

TEST_CASE("Slabs too large for shared memory stream, and rows too wide for a block go one by one") {
  if (!device_answers()) return;
  const Problem tall{.shape = {1, 16000, 8, 4}}, wide{.shape = {1, 2, 2056, 1}};
  CHECK(check_rung(Which::streaming, tall, DType::f32));
  CHECK(!check_rung(Which::slab, tall, DType::f32));
  CHECK(!check_rung(Which::slab, wide, DType::bf16));
  CHECK(!check_rung(Which::streaming, wide, DType::bf16));
  CHECK(check_rung(Which::naive, wide, DType::bf16));
}

TEST_CASE("Group norm has the same bits in every run and under every order of threads") {
  if (!device_answers()) return;
  const Problem p{.shape = {3, 20, 96, 8}};
  const Inputs in(p);
  for (const Which which : all) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Outputs first = on_rung(which, p, in, dtype).first;
      for_each_order([&] {
        const Outputs again = on_rung(which, p, in, dtype).first;
        CHECK(again.y == first.y);
        CHECK(again.statistics == first.statistics);
        CHECK(again.dx == first.dx);
        CHECK(again.dweight == first.dweight);
        CHECK(again.dbias == first.dbias);
      });
    }
  }
}

TEST_CASE("Gradients of no images or no positions are zeros") {
  if (!device_answers()) return;
  for (const GroupNormShape s : {GroupNormShape{0, 4, 8, 2}, GroupNormShape{2, 0, 8, 2}}) {
    Tensor dweight = unset(8, DType::f32), dbias = unset(8, DType::f32);
    Tensor some = unset(64, DType::f32), partial = unset(64, DType::f32);
    kernel::GroupNormGrad::cuda({some.raw(), some.raw(), some.raw(), some.raw(), some.raw(),
                                 some.mutable_raw(), dweight.mutable_raw(), dbias.mutable_raw(),
                                 partial.mutable_raw(), s, true, DType::f32});
    CHECK(on_host(dweight) == nothing(8));
    CHECK(on_host(dbias) == nothing(8));
  }
}

}  // namespace ito
