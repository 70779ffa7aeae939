#include "tensor/shape.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "tensor/error.h"

namespace ito {

Shape::Shape(std::initializer_list<std::int64_t> sizes)
    : Shape(std::span<const std::int64_t>(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const std::int64_t> sizes) {
  if (sizes.size() > max_rank) {
    fail<ShapeError>("shape: at most {} axes; got {}", max_rank, sizes.size());
  }
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (size < 0) fail<ShapeError>("shape: sizes must be >= 0; got {}", size);
    if (size > 0 && __builtin_mul_overflow(product, size, &product)) {
      fail<ShapeError>("shape: the number of elements exceeds 2^63 - 1");
    }
    sizes_[static_cast<std::size_t>(rank_++)] = size;
  }
}

std::int64_t Shape::numel() const {
  std::int64_t product = 1;
  for (const std::int64_t size : *this) product *= size;
  return product;
}

std::int64_t Shape::operator[](int axis) const {
  return sizes_[static_cast<std::size_t>(normalize_axis("shape", axis, rank_))];
}

Shape Shape::with(int axis, std::int64_t size) const {
  auto sizes = to_vector();
  sizes[static_cast<std::size_t>(normalize_axis("shape", axis, rank_))] = size;
  return Shape(sizes);
}

Shape Shape::inserted(int axis, std::int64_t size) const {
  auto sizes = to_vector();
  sizes.insert(sizes.begin() + normalize_axis("shape", axis, rank_ + 1), size);
  return Shape(sizes);
}

Shape Shape::removed(int axis) const {
  auto sizes = to_vector();
  sizes.erase(sizes.begin() + normalize_axis("shape", axis, rank_));
  return Shape(sizes);
}

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

bool operator==(const Shape& a, const Shape& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

int normalize_axis(const char* op, int axis, int rank) {
  if (axis < -rank || axis >= rank) {
    fail<ShapeError>("{}: axis must be in [{}, {}); got {}", op, -rank, rank, axis);
  }
  return axis < 0 ? axis + rank : axis;
}

Shape broadcast(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(rank));
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t x = i <= a.rank() ? a[-i] : 1;
    const std::int64_t y = i <= b.rank() ? b[-i] : 1;
    if (x != y && x != 1 && y != 1) {
      fail<ShapeError>("{}: shapes must match or broadcast; got {} and {}", op, a.str(), b.str());
    }
    sizes[static_cast<std::size_t>(rank - i)] = x == 1 ? y : x;
  }
  return Shape(sizes);
}

}  // namespace ito
