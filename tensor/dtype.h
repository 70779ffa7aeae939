// Element types. Arithmetic is f32 and f64 on the CPU, f32 and bf16 on CUDA; i64 and u8 hold
// indices and images.
//
//   const Tensor t = Tensor::zeros({64}, DType::i64);
//   const DType dtype = t.dtype();
//   if (!is_floating(dtype)) fmt::print("{}: {} bytes\n", name_of(dtype), size_of(dtype));
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/build.h"
#include "tensor/error.h"

namespace ito {

enum class DType : std::uint8_t { f32, f64, bf16, i64, u8 };

/// bfloat16: the upper half of an f32. Storage only on the CPU; conversion rounds to nearest even.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  ITO_HOST_DEVICE explicit bf16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u
                                          : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  ITO_HOST_DEVICE explicit operator float() const {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
  friend bool operator==(bf16, bf16) = default;
};

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::f64:
      return 8;
    case DType::bf16:
      return 2;
    case DType::i64:
      return 8;
    case DType::u8:
      return 1;
  }
  return 0;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::bf16:
      return "bf16";
    case DType::i64:
      return "i64";
    case DType::u8:
      return "u8";
  }
  return "?";
}

/// The type that statistics of elements of `dtype` are kept in: bf16's would be too coarse.
constexpr DType statistics_of(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16;
}

template <class T>
inline constexpr DType dtype_of = [] {
  static_assert(sizeof(T) == 0, "no DType for this C++ type");
  return DType::f32;
}();
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;

/// Calls `f(T{})` with T = float or double; the CPU's arithmetic types.
/// Throws DTypeError for the others, naming `op`.
template <class F>
decltype(auto) with_float(const char* op, DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      break;
  }
  throw DTypeError(std::string(op) + ": the CPU computes in f32 and f64; got " + name_of(dtype));
}

/// Calls `f(T{})` with the C++ type of any dtype; for copies and conversions.
template <class F>
decltype(auto) with_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::u8:
      break;
  }
  return f(std::uint8_t{});
}

}  // namespace ito
