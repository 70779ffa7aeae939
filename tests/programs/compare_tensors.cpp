// Exits 0 when two f32 tensors in files have one shape and nowhere differ by more than a tolerance.
// usage: compare_tensors FILE FILE NAME NAME TOLERANCE
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "nn/safetensors.h"

int main(int argc, char** argv) {
  using namespace ito;
  if (argc != 6) return 2;
  const Tensor a = nn::load_safetensors(argv[1]).at(argv[3]);
  const Tensor b = nn::load_safetensors(argv[2]).at(argv[4]);
  double worst = a.shape() == b.shape() ? 0 : INFINITY;
  for (std::int64_t i = 0; std::isfinite(worst) && i < a.numel(); ++i) {
    const double difference = std::abs(double{a.data<float>()[i]} - double{b.data<float>()[i]});
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  std::printf("largest difference of %s: %g\n", argv[3], worst);
  return worst <= std::strtod(argv[5], nullptr) ? 0 : 1;
}
