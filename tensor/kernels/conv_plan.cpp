#include "tensor/kernels/conv_plan.h"

#include <atomic>

#include "tensor/kernels/simd.h"

namespace ito::kernel {
namespace {

std::atomic<ConvAlgorithm> forced = ConvAlgorithm::automatic;

}  // namespace

void set_conv_algorithm(ConvAlgorithm algorithm) { forced = algorithm; }

int winograd_outputs(const ConvShape& s, ConvPass pass, DType dtype) {
  const ConvAlgorithm algorithm = forced;
  if (s.kh != 3 || s.kw != 3 || s.stride != 1) return 0;
  if (algorithm == ConvAlgorithm::direct) return 0;
  if (algorithm == ConvAlgorithm::winograd_2) return 2;
  if (algorithm == ConvAlgorithm::winograd_4) return 4;
  if (algorithm == ConvAlgorithm::winograd) return 4;
  if (dtype != DType::f32 || pass == ConvPass::weight_grad) return 0;
  if (s.in < 2 * simd::lanes<float> || s.out < 2 * simd::lanes<float>) return 0;
  // The transformed weights are t^2 / 9 times larger, and pay when enough tiles use them.
  const auto tiles = [&](std::int64_t m) {
    return s.n * ((s.p + m - 1) / m) * ((s.q + m - 1) / m);
  };
  return tiles(4) >= 96 ? 4 : tiles(2) >= 32 ? 2 : 0;
}

}  // namespace ito::kernel
