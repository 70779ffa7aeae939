// The shapes that bench_kernels measures are those of the network.
#include "benchmarks/unet_shapes.h"

#include <doctest/doctest.h>

using namespace ito;
using namespace ito::bench;

TEST_CASE(
    "the walk over the CIFAR-10 network finds its layers and its 6.22 billion products per image") {
  const UNetShapes shapes = unet_shapes(UNetConfig::cifar10(), 1);
  int four = 0, three = 0, one = 0, norms = 0, attentions = 0, linears = 0;
  double products = 0.0;
  for (const auto& [s, count] : shapes.convs) {
    (s.kh == 4 ? four : s.kh == 3 ? three : one) += count;
    // Upsampling folded into the convolution behind it leaves 4 of 9 taps.
    const double taps = s.kh == 4 ? 9.0 / 4.0 : 1.0;
    products += count * taps * static_cast<double>(s.p * s.q * s.out * s.kh * s.kw * s.in);
  }
  for (const auto& [s, count] : shapes.linears) {
    linears += count;
    products += count * static_cast<double>(s.m * s.n * s.k);
  }
  for (const auto& [s, count] : shapes.attentions) {
    attentions += count;
    products += count * 2.0 * static_cast<double>(s.l * s.s * s.d);
  }
  for (const auto& [s, count] : shapes.norms) norms += count;
  CHECK(three + four == 52);
  CHECK(four == 3);
  CHECK(one + linears == 37);
  CHECK(norms == 51);
  CHECK(attentions == 6);
  // 6.222e9, less the linear layers of the time embedding, 3e6
  CHECK(products == doctest::Approx(6.22e9).epsilon(1e-3));
}

TEST_CASE("the batch multiplies the work and not the layers") {
  const UNetShapes one = unet_shapes(UNetConfig::mnist(), 1);
  const UNetShapes many = unet_shapes(UNetConfig::mnist(), 128);
  REQUIRE(one.convs.size() == many.convs.size());
  for (std::size_t i = 0; i < one.convs.size(); ++i) {
    CHECK(one.convs[i].count == many.convs[i].count);
    CHECK(128 * one.convs[i].shape.n == many.convs[i].shape.n);
    CHECK(one.convs[i].shape.in == many.convs[i].shape.in);
  }
}
