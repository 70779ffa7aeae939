#include <ito.h>

int main() {
  using namespace ito;
  if (build::version() != PACKAGE_VERSION) return 1;
  Rng rng(1, Purpose::test);
  const Tensor w = parameter(randn(rng, {4, 3}));
  backward(mse(linear(randn(rng, {8, 3}), w), Tensor::zeros({8, 4})));
  fmt::print("{}\n", w.grad().str());
}
