#include "tensor/dtype.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "autograd/ops/layout.h"
#include "tensor/tensor.h"

using namespace ito;

namespace {

bf16 from_bits(std::uint32_t bits) {
  bf16 x;
  x.bits = static_cast<std::uint16_t>(bits);
  return x;
}

// The value of a bf16 from its fields, in f64.
double value_of(std::uint32_t bits) {
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>((bits >> 7) & 0xff),
            mantissa = static_cast<int>(bits & 0x7f);
  if (exponent == 255) {
    return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -133);
  return sign * std::ldexp(128 + mantissa, exponent - 134);
}

}  // namespace

TEST_CASE("bf16: every one of the 65,536 values converts to f32 exactly and back to itself") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto wide = static_cast<float>(from_bits(bits));
    const double wanted = value_of(bits);
    if (std::isnan(wanted)) {
      REQUIRE(std::isnan(wide));
      REQUIRE(std::isnan(static_cast<float>(bf16(wide))));
      continue;
    }
    REQUIRE(static_cast<double>(wide) == wanted);
    REQUIRE(std::signbit(wide) == std::signbit(wanted));
    REQUIRE(bf16(wide).bits == bits);
  }
}

TEST_CASE("bf16: f32 rounds to the nearest, ties to the even neighbour") {
  // Between each finite value and the next: a quarter, a half and three quarters of the way.
  for (std::uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const std::uint32_t low = bits << 16;
    REQUIRE(bf16(std::bit_cast<float>(low + 0x4000u)).bits == bits);
    REQUIRE(bf16(std::bit_cast<float>(low + 0x7fffu)).bits == bits);
    REQUIRE(bf16(std::bit_cast<float>(low + 0x8000u)).bits == bits + (bits & 1u));
    REQUIRE(bf16(std::bit_cast<float>(low + 0x8001u)).bits == bits + 1);
    REQUIRE(bf16(-std::bit_cast<float>(low + 0xc000u)).bits == (0x8000u | (bits + 1)));
  }
  CHECK(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
  CHECK(bf16(std::numeric_limits<float>::infinity()).bits == 0x7f80u);
  // A NaN whose payload sits in the lost bits stays a NaN.
  CHECK(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST_CASE("cast: between all pairs of dtypes, small integers are exact") {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8};
  for (const DType from : all) {
    for (const DType to : all) {
      const Tensor x = cast(Tensor::full({3}, 100.0, from), to);
      CHECK(x.dtype() == to);
      CHECK(x.view({1}, 2).item() == 100.0);
    }
  }
}

TEST_CASE("cast: floating to integer cuts towards zero; f64 to f32 rounds to nearest") {
  const Tensor x = Tensor::from<double>({-1.9, 1.9, 0.1}, {3});
  CHECK(cast(x, DType::i64).to_vector<std::int64_t>() == std::vector<std::int64_t>{-1, 1, 0});
  CHECK(cast(x, DType::f32).to_vector<float>() == std::vector<float>{-1.9f, 1.9f, 0.1f});
}

TEST_CASE("cast: many f32 to bf16 agree with one at a time") {
  std::vector<float> values(5000);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i)) * std::pow(10.0f, static_cast<float>(i % 60) - 30);
  }
  const auto narrow = cast(Tensor::from(values, {5000}), DType::bf16).to_vector<bf16>();
  for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(narrow[i] == bf16(values[i]));
}

TEST_CASE("DType: sizes and names") {
  CHECK(size_of(DType::bf16) == 2);
  CHECK(std::string(name_of(DType::u8)) == "u8");
  CHECK(is_floating(DType::bf16));
  CHECK_FALSE(is_floating(DType::i64));
}
