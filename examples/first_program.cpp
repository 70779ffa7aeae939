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
  const GaussianDiffusion process{NoiseSchedule::linear(200, 1e-4, 0.05)};
  for (int step = 0; step < 2000; ++step) {
    const Tensor angle = rand(rng, {256, 1}) * 6.2831853;
    const Tensor x0 = concat({cos(angle), sin(angle)});
    flat.zero_grad();
    backward(process.loss(std::cref(net), x0, randint(rng, 0, 200, {256}), randn(rng, {256, 2})));
    adam.step();
  }
  const Tensor x = sample_ddpm(process, std::cref(net), randn(rng, {1000, 2}), rng);
  std::printf("mean radius %.3f, should be 1\n", mean(sqrt(sum(square(x), {1}))).item());
}
