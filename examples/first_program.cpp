// The smallest diffusion model: learns points on a circle, then draws new ones.
#include <cstdio>

#include "ito.h"
using namespace ito;

struct Mlp {  // (x_t [N, 2], t [N]) -> noise [N, 2]
  nn::Linear in, hidden, out;
  explicit Mlp(Rng& init) : in(34, 128, init), hidden(128, 128, init), out(128, 2, init) {}
  Tensor operator()(const Tensor& x, const Tensor& t) const {
    const Tensor h = silu(in(concat({x, sinusoidal_embedding(t, 32)})));
    return out(silu(hidden(h)));
  }
  template <class V>
  void visit(V&& v) {
    v("in", in);
    v("hidden", hidden);
    v("out", out);
  }
};

int main() {
  Rng init(1, Purpose::init), rng(1, Purpose::noise);
  Mlp mlp(init);
  nn::FlatParameters flat(mlp);
  nn::Adam adam(flat, {.lr = 2e-3});
  const GaussianDiffusion process{NoiseSchedule::linear(200, 1e-4, 0.05)};
  for (int step = 0; step < 2000; ++step) {
    const Tensor angle = rand(rng, {256, 1}) * 6.2831853;
    const Tensor x0 = concat({cos(angle), sin(angle)});
    flat.zero_grad();
    backward(process.loss(std::cref(mlp), x0, randint(rng, 0, 200, {256}), randn(rng, {256, 2})));
    adam.step();
  }
  const Tensor x = sample_ddpm(process, std::cref(mlp), randn(rng, {1000, 2}), rng);
  const Tensor radius = sqrt(sum(square(x), {1}));
  std::printf("radius of 1000 samples: mean %.3f, should be 1\n", mean(radius).item());
}
