#include "tensor/kernels/conv_plan.h"

#include <algorithm>
#include <atomic>

#include "tensor/kernels/conv_tile.h"

namespace ito::kernel {
namespace {

std::atomic<ConvAlgorithm> forced = ConvAlgorithm::automatic;

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

/// The gradient to the weight in f32, by what the algorithms cost in multiply-adds. Direct sums reach
/// 80 % of the speed of the products of a slab (conv_winograd_grad.cpp). An element of a square
/// costs its products, about 7 for each input channel and 5 for each output channel to make it, and
/// for every slab of 64 tiles as much as 5 products to go to the taps.
int weight_grad_outputs(const ConvShape& s) {
  constexpr Index least_channels = 16, slab_tiles = 64;
  if (std::min(s.in, s.out) < least_channels) return 0;
  const auto cost = [&](Index m) {
    const Index tiles = s.n * ceil_div(s.p, m) * ceil_div(s.q, m), pairs = s.in * s.out;
    return (m + 2) * (m + 2) *
           (tiles * (pairs + 7 * s.in + 5 * s.out) + 5 * ceil_div(tiles, slab_tiles) * pairs);
  };
  const Index direct = 9 * s.n * s.p * s.q * s.in * s.out / 4 * 5;
  if (direct <= std::min(cost(2), cost(4))) return 0;
  return cost(2) < cost(4) ? 2 : 4;
}

}  // namespace

void set_conv_algorithm(ConvAlgorithm algorithm) { forced = algorithm; }

int winograd_outputs(const ConvShape& s, ConvPass pass, DType dtype) {
  const ConvAlgorithm algorithm = forced;
  if (s.kh != 3 || s.kw != 3 || s.stride != 1) return 0;
  if (algorithm == ConvAlgorithm::direct) return 0;
  if (algorithm == ConvAlgorithm::winograd_2) return 2;
  if (algorithm == ConvAlgorithm::winograd_4) return 4;
  if (algorithm == ConvAlgorithm::winograd) return 4;
  if (dtype != DType::f32) return 0;
  if (pass == ConvPass::weight_grad) return weight_grad_outputs(s);
  if (s.in < 2 * simd::lanes<float> || s.out < 2 * simd::lanes<float>) return 0;
  // The transformed weights are t^2 / 9 times larger, and pay when enough tiles use them.
  const auto tiles = [&](std::int64_t m) {
    return s.n * ((s.p + m - 1) / m) * ((s.q + m - 1) / m);
  };
  return tiles(4) >= 96 ? 4 : tiles(2) >= 32 ? 2 : 0;
}

}  // namespace ito::kernel
