#include "tensor/kernels/conv_plan.h"

#include <algorithm>
#include <atomic>

#include "tensor/kernels/conv_correlation.h"

namespace ito::kernel {
namespace {

std::atomic<ConvAlgorithm> forced = ConvAlgorithm::automatic;

// Fewer channels than a vector waste what the transforms and the register tiles hold of them.
constexpr Index min_channels = 16;

// The cost of a forward pass or an input gradient in cycles of a core with vectors of 16 and two
// multiply-adds at a time; only the ratios matter, so that it serves other vectors too. The
// constants are what bench_conv --conv shows on such a core, where the transforms wait for writes
// and for the caches more than for arithmetic.
constexpr double pack = 7;  // of a weight: the transpose of its 9 taps

double direct_cycles(const ConvShape& s) {
  const auto pairs = static_cast<double>(s.in * s.out);
  const auto pixels = static_cast<double>(s.n * s.p * s.q);
  constexpr double product = 1.15 / 32;  // of a multiply-add: 87 % of the peak
  return pairs * (9 * pixels * product + pack);
}

double winograd_cycles(const ConvShape& s, Index m) {
  const auto tiles = static_cast<double>(s.n * ceil_div(s.p, m) * ceil_div(s.q, m));
  const auto in = static_cast<double>(s.in), out = static_cast<double>(s.out);
  const auto squares = static_cast<double>((m + 2) * (m + 2));
  constexpr double product = 1.2 / 32;
  constexpr double transform = 8.0 / 16;  // of an element of V or of the products, in and out
  // Of an element of U, which leaves the cache when there are many tiles.
  const double weight = tiles <= static_cast<double>(max_tiles_split_by_channels) ? 0.25 : 0.7;
  const double per_square =
      tiles * (in * out * product + (in + out) * transform) + in * out * weight;
  return squares * per_square + in * out * pack;
}

/// The shape that the forward pass and the input gradient are planned for: with this many images,
/// whatever their number, so that an image has the same bits in any batch.
ConvShape planned(ConvShape s) {
  s.n = 8;
  return s;
}

int cheapest(const ConvShape& s) { return winograd_cycles(s, 2) < winograd_cycles(s, 4) ? 2 : 4; }

int correlation_outputs(const ConvShape& given) {
  const ConvShape s = planned(given);
  if (std::min(s.in, s.out) < min_channels) return 0;
  const int m = cheapest(s);
  return winograd_cycles(s, m) < direct_cycles(s) ? m : 0;
}

/// The gradient to the weight in f32, by what the algorithms cost in multiply-adds. Direct sums
/// reach 80 % of the speed of the products of a slab (conv_winograd_grad.cpp). An element of a
/// square costs its products, about 7 for each input channel and 5 for each output channel to make
/// it, and for every slab of 64 tiles as much as 5 products to go to the taps.
int weight_grad_outputs(const ConvShape& s) {
  constexpr Index slab_tiles = 64;
  if (std::min(s.in, s.out) < min_channels) return 0;
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
  if (s.kh != 3 || s.kw != 3 || s.stride != 1 || algorithm == ConvAlgorithm::direct) return 0;
  if (s.in * s.out == 0) return 0;
  if (algorithm == ConvAlgorithm::winograd_2) return 2;
  if (algorithm == ConvAlgorithm::winograd_4) return 4;
  if (algorithm == ConvAlgorithm::winograd) return cheapest(planned(s));
  if (dtype != DType::f32) return 0;
  return pass == ConvPass::weight_grad ? weight_grad_outputs(s) : correlation_outputs(s);
}

}  // namespace ito::kernel
