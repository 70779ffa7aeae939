// The smallest diffusion model: it learns points on a circle, then draws new ones.
#include <cstdio>

#include "ito.h"
using namespace ito;

struct Net {  // (x_t [N, 2], t [N]) to the noise in x_t [N, 2]
  nn::Linear in, hidden, out;
  Tensor operator()(const Tensor& x, const Tensor& t) const {
    return out(silu(hidden(silu(in(concat({x, sinusoidal_embedding(t, 32)}))))));
  }
  void visit(auto&& v) { v("in", in), v("hidden", hidden), v("out", out); }
};

int main() {
  Rng rng(1);
  Net net{{34, 128, rng}, {128, 128, rng}, {128, 2, rng}};
  nn::FlatParameters flat(net);
  nn::Adam adam(flat, {.lr = 2e-3});
  const NoiseSchedule schedule = NoiseSchedule::linear(200, 1e-4, 0.05);
  const Parametrization noise{Prediction::epsilon};  // what the network predicts
  for (int step = 0; step < 2000; ++step) {
    const Tensor angle = rand(rng, {256, 1}) * 6.2831853;
    const Tensor x0 = concat({cos(angle), sin(angle)}), eps = randn(rng, {256, 2});
    const Levels levels = schedule.levels(randint(rng, 0, 200, {256}), x0);
    const Tensor x_t = add_noise(x0, eps, levels);
    flat.zero_grad();
    backward(mean(noise.losses(net(x_t, levels.time), x0, eps, levels)));
    adam.step();
  }
  const Tensor x = sample_ddpm(noise.denoiser(std::cref(net)), randn(rng, {1000, 2}),
                               sampling_levels(schedule, 200, Spacing::even), rng);
  std::printf("mean radius %.3f, should be 1\n", mean(sqrt(sum(square(x), {1}))).item());
}
