// From points to points: a small network, trained in seconds, whose samples cannot be told from the
// data by a distance whose floor is known.
#include <doctest/doctest.h>

#include <string>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "data/points.h"
#include "diffusion/evaluation/point_metrics.h"
#include "diffusion/models/mlp.h"
#include "diffusion/sampling/samplers.h"
#include "nn/adam.h"
#include "nn/ema.h"
#include "nn/lr_schedule.h"
#include "tests/oracles/chain.h"

using namespace ito;
using data::PointSet;
using test::Chain;

namespace {

constexpr std::int64_t steps = 1000, batch = 256, T = 100, count = 2000;

Mlp network(bool continuous_time = false) {
  Rng init(1, Purpose::init);
  return Mlp({.width = 64, .continuous_time = continuous_time}, init);
}

// Trains on the set with the losses [batch] of (x0, eps, rng), and leaves averaged weights.
void train(Mlp& mlp, PointSet set,
           const std::function<Tensor(const Tensor& x0, const Tensor& eps, Rng& rng)>& losses) {
  nn::FlatParameters flat(mlp);
  nn::Adam adam(flat);
  nn::Ema ema(flat, 0.99);
  const auto lr = nn::LrSchedule::cosine(6e-3, /*warmup=*/0, steps);
  Rng points(2, Purpose::data), noise(3, Purpose::noise), time(4, Purpose::timestep);
  for (std::int64_t step = 0; step < steps; ++step) {
    const Tensor x0 = data::draw_points(set, points, batch, DType::f32);
    flat.zero_grad();
    backward(mean(losses(x0, randn(noise, x0.shape()), time)));
    adam.step(lr(step));
    ema.update();
  }
  flat.values.assign(ema.values);
}

// The squared MMD of samples to fresh data, in multiples of the limit between two draws of the
// data.
class Distance {
 public:
  explicit Distance(PointSet set) : set_(set) {
    Rng rng(5, Purpose::test);
    std::vector<Tensor> draws;
    for (int i = 0; i < 12; ++i) draws.push_back(data::draw_points(set, rng, count));
    floor_ =
        metric_floor([](const Tensor& a, const Tensor& b) { return squared_mmd(a, b); }, draws);
    reference_ = data::draw_points(set, rng, count);
  }
  double operator()(const Tensor& x) const {
    const double got = squared_mmd(x, reference_);
    MESSAGE(std::string(name_of(set_)), ": floor ", floor_.mean, " +- ", floor_.deviation,
            ", samples ", got);
    return got / floor_.limit();
  }

 private:
  PointSet set_;
  MetricFloor floor_;
  Tensor reference_;
};

Tensor noise() {
  Rng rng(6, Purpose::sample);
  return randn(rng, {count, 2});
}

}  // namespace

TEST_CASE("points: the samples of a trained network are within the floor of the data") {
  for (const PointSet set : {PointSet::swiss_roll, PointSet::gaussians}) {
    Mlp mlp = network();
    const Distance distance(set);
    const Chain process{NoiseSchedule::cosine(T), Prediction::v};
    train(mlp, set, [&](const Tensor& x0, const Tensor& eps, Rng& rng) {
      return process.losses(std::cref(mlp), x0, randint(rng, 0, T, {batch}), eps);
    });
    CHECK(distance(sample_ddpm(process.denoiser(std::cref(mlp)), noise(), process.walk(), Rng(7))) <
          1.0);
    CHECK(distance(sample_unipc(process.denoiser(std::cref(mlp)), noise(),
                                process.walk(20, Spacing::karras))) < 1.0);
    // The same network, told that it predicts eps.
    const Chain wrong{NoiseSchedule::cosine(T), Prediction::epsilon};
    CHECK(distance(sample_ddim(wrong.denoiser(std::cref(mlp)), noise(), wrong.walk(50), Rng(7))) >
          2.0);
    CHECK(distance(noise()) > 2.0);
  }
}

TEST_CASE("points: EDM's network, trained on its path, samples on the levels of any process") {
  Mlp mlp = network(/*continuous_time=*/true);
  const Distance distance(PointSet::moons);
  const Parametrization edm = Parametrization::edm(1.0);
  const Path path = Path::edm();
  train(mlp, PointSet::moons, [&](const Tensor& x0, const Tensor& eps, Rng& rng) {
    const Levels levels = path.levels(path.draw_times(rng, batch), x0);
    const Tensor x = add_noise(x0, eps, levels);
    return edm.losses(edm.call(std::cref(mlp), x, levels), x0, eps, levels);
  });
  const auto samples = [&](const Parametrization& p, const std::vector<Level>& levels) {
    const Tensor x_T = levels.front().alpha == 1.0 ? levels.front().sigma * noise() : noise();
    return sample_heun(p.denoiser(std::cref(mlp)), x_T, levels, Rng(8));
  };
  for (const std::vector<Level>& levels :
       {sampling_levels(path, 18, Spacing::karras),
        sampling_levels(NoiseSchedule::cosine(), 18, Spacing::karras)}) {
    CHECK(distance(samples(edm, levels)) < 1.0);
    CHECK(distance(samples(Parametrization::edm(0.5), levels)) > 2.0);  // of other data
  }
}
