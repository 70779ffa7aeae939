// The sizes of a tensor's axes: up to eight, row-major, each >= 0. Rank 0 is a scalar.
//
//   const Shape s{2, 28, 28, 1};
//   s.numel();      // 1568
//   s[-1];          // 1
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace ito {

class Shape {
 public:
  static constexpr int max_rank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes);
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  /// Product of the sizes; 1 for rank 0. Sizes whose product overflows are refused on construction.
  std::int64_t numel() const;
  /// Size of an axis; negative axes count from the end. Throws ShapeError outside the rank.
  std::int64_t operator[](int axis) const;
  /// A copy with one axis changed, inserted or removed; axes as in operator[].
  Shape with(int axis, std::int64_t size) const;
  Shape inserted(int axis, std::int64_t size) const;
  Shape removed(int axis) const;

  const std::int64_t* begin() const { return sizes_.data(); }
  const std::int64_t* end() const { return sizes_.data() + rank_; }
  std::vector<std::int64_t> to_vector() const { return {begin(), end()}; }
  std::string str() const;  ///< "[2, 28, 28, 1]"

  friend bool operator==(const Shape& a, const Shape& b);

 private:
  std::array<std::int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

/// The axis as a number in [0, rank). Throws ShapeError naming `op`.
int normalize_axis(const char* op, int axis, int rank);

/// The common shape of `a` and `b` by the usual rule: aligned at the last axis, sizes equal or 1.
/// Throws ShapeError naming `op` and both shapes.
Shape broadcast(const char* op, const Shape& a, const Shape& b);

}  // namespace ito
