// Training end to end on data whose best loss is known: a small network on 2-D points from N(0, I).
// The best prediction is eps = sqrt(1 - alpha_bar_t) x_t, its loss the mean of alpha_bar_t over t.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/time_embedding.h"
#include "nn/adam.h"
#include "nn/flat.h"
#include "nn/layers.h"
#include "nn/lr_schedule.h"
#include "tests/oracles/chain.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;

namespace {

struct Mlp {
  static constexpr std::int64_t width = 48, features = 16;
  nn::Linear from_x, from_t, hidden, out;
  bool sees_t = true;

  explicit Mlp(Rng& init)
      : from_x(2, width, init),
        from_t(features, width, init),
        hidden(width, width, init),
        out(width, 2, init, 0.0) {}

  Tensor operator()(const Tensor& x, const Tensor& t) const {
    const Tensor time = sees_t ? t : Tensor::full(t.shape(), 500, DType::i64);
    const Tensor h = silu(from_x(x) + from_t(sinusoidal_embedding(time, features)));
    return out(silu(hidden(h)));
  }
  template <class V>
  void visit(V&& v) {
    v("from_x", from_x);
    v("from_t", from_t);
    v("hidden", hidden);
    v("out", out);
  }
};

struct Batch {
  Tensor x0, t, eps;
};

// t runs through equal parts of 0 .. T - 1: the same expectation as independent draws, less noise.
Batch draw(std::int64_t n, std::uint64_t step, Purpose purpose) {
  Rng rng(21, purpose);
  rng.seek(step);
  const Tensor u = rand(rng, {n});
  std::vector<std::int64_t> t(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < t.size(); ++i) {
    const double position = (static_cast<double>(i) + u.data<float>()[i]) / static_cast<double>(n);
    t[i] = std::min<std::int64_t>(999, static_cast<std::int64_t>(1000.0 * position));
  }
  return {randn(rng, {n, 2}), Tensor::from(t, {n}), randn(rng, {n, 2})};
}

struct Result {
  double first_loss;  // before the first update
  double loss;        // on fresh points
  double excess;      // of that over the loss of the best denoiser on the same points
  double error;       // standard error of the excess
};

Result train_and_test(const Chain& process, bool sees_t) {
  constexpr std::int64_t steps = 1200, batch = 256;
  Rng init(22, Purpose::init);
  Mlp mlp(init);
  mlp.sees_t = sees_t;
  nn::FlatParameters flat(mlp);
  nn::Adam adam(flat);
  const auto lr = nn::LrSchedule::cosine(1e-2, /*warmup=*/0, steps);
  Result result{};
  for (std::int64_t i = 0; i < steps; ++i) {
    const Batch b = draw(batch, static_cast<std::uint64_t>(i), Purpose::noise);
    const Tensor loss = process.loss(mlp, b.x0, b.t, b.eps);
    if (i == 0) result.first_loss = loss.item();
    flat.zero_grad();
    backward(loss);
    adam.step(lr(i));
  }

  const NoGrad no_grad;
  const Batch b = draw(40000, 0, Purpose::test);
  const Tensor got = process.losses(mlp, b.x0, b.t, b.eps);
  const Tensor best = process.losses(test::exact_denoiser(process, 1.0), b.x0, b.t, b.eps);
  const Tensor difference = cast(got, DType::f64) - cast(best, DType::f64);
  result.loss = mean(got).item();
  result.excess = mean(difference).item();
  result.error = std::sqrt(mean(square(difference - result.excess)).item() / 40000.0);
  return result;
}

}  // namespace

TEST_CASE(
    "training: a small network reaches the floor of L_simple within 2 % and does not beat it") {
  for (const auto& schedule : {NoiseSchedule::linear(), NoiseSchedule::cosine()}) {
    const Chain process{schedule};
    double floor = 0.0;
    for (std::int64_t t = 0; t < 1000; ++t) floor += schedule.alpha_bar(t) / 1000.0;
    const Result r = train_and_test(process, true);
    MESSAGE("floor ", floor, ", first loss ", r.first_loss, ", loss ", r.loss, ", excess ",
            100 * r.excess / floor, " % +- ", 100 * r.error / floor, " %");
    CHECK(r.first_loss == doctest::Approx(1.0).epsilon(0.25));  // starts at 0: mean eps^2
    CHECK(r.excess < 0.02 * floor);
    CHECK(r.excess > -4 * r.error);
    // The loss itself, whose standard error is sqrt(2 / 80,000) of about 1 at most.
    CHECK(std::abs(r.loss - floor) < 0.02 * floor + 4 * std::sqrt(2.0 / 80000));
  }
}

TEST_CASE("training: a network that is not told the time stays above the floor") {
  const Chain process{NoiseSchedule::linear()};
  // Without t the best prediction is E[sigma] x, with the loss 1 - E[sigma]^2.
  double floor = 0.0, sigma = 0.0;
  for (std::int64_t t = 0; t < 1000; ++t) {
    floor += process.schedule.alpha_bar(t) / 1000.0;
    sigma += process.schedule.level(t).sigma / 1000.0;
  }
  const Result r = train_and_test(process, false);
  MESSAGE("floor ", floor, ", without t ", 1 - sigma * sigma, ", loss ", r.loss);
  CHECK(r.excess > 0.1 * floor);
  CHECK(r.excess > (1 - sigma * sigma - floor) - 4 * r.error);
  CHECK(r.excess < 1.02 * (1 - sigma * sigma) - floor + 4 * r.error);
}
