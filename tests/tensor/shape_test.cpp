#include "tensor/shape.h"

#include <doctest/doctest.h>

#include <limits>

#include "tensor/error.h"

using namespace ito;

TEST_CASE("Shape: sizes, negative axes, number of elements and text") {
  const Shape s{2, 28, 28, 1};
  CHECK(s.rank() == 4);
  CHECK(s[0] == 2);
  CHECK(s[-1] == 1);
  CHECK(s[-4] == 2);
  CHECK(s.numel() == 1568);
  CHECK(s.str() == "[2, 28, 28, 1]");
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{}.str() == "[]");
  CHECK(Shape{3, 0, 2}.numel() == 0);
}

TEST_CASE("Shape: equal when ranks and sizes are") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{2, 3} != Shape{2, 3, 1});
  CHECK(Shape{} != Shape{1});
}

TEST_CASE("Shape: with, inserted and removed give changed copies") {
  const Shape s{2, 3};
  CHECK(s.with(-1, 5) == Shape{2, 5});
  CHECK(s.inserted(0, 7) == Shape{7, 2, 3});
  CHECK(s.inserted(2, 7) == Shape{2, 3, 7});
  CHECK(s.inserted(-1, 7) == Shape{2, 3, 7});
  CHECK(s.removed(0) == Shape{3});
  CHECK(s == Shape{2, 3});
  CHECK_THROWS_AS(s.with(2, 1), ShapeError);
  CHECK_THROWS_AS(Shape{}.removed(0), ShapeError);
}

TEST_CASE("Shape: refuses too many axes, negative sizes and overflow") {
  CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), "shape: at most 8 axes; got 9",
                       ShapeError);
  CHECK_THROWS_WITH_AS((Shape{2, -1}), "shape: sizes must be >= 0; got -1", ShapeError);
  const std::int64_t big = std::int64_t{1} << 32;
  CHECK_THROWS_WITH_AS((Shape{big, big}), "shape: the number of elements exceeds 2^63 - 1",
                       ShapeError);
  // The product of the other sizes must not overflow either: strides are made of them.
  CHECK_THROWS_AS((Shape{0, big, big}), ShapeError);
  CHECK(Shape{std::numeric_limits<std::int64_t>::max()}.numel() ==
        std::numeric_limits<std::int64_t>::max());
  CHECK_THROWS_WITH_AS((Shape{2, 3})[2], "shape: axis must be in [-2, 2); got 2", ShapeError);
  CHECK_THROWS_AS(Shape{}[0], ShapeError);
}

TEST_CASE("broadcast: aligns at the last axis, sizes equal or 1") {
  CHECK(broadcast("op", {2, 3}, {3}) == Shape{2, 3});
  CHECK(broadcast("op", {2, 1, 3}, {4, 1}) == Shape{2, 4, 3});
  CHECK(broadcast("op", {}, {5}) == Shape{5});
  CHECK(broadcast("op", {1}, {0}) == Shape{0});
  CHECK_THROWS_WITH_AS(broadcast("op", {2, 3}, {2}),
                       "op: shapes must match or broadcast; got [2, 3] and [2]", ShapeError);
  CHECK_THROWS_AS(broadcast("op", {2}, {0}), ShapeError);
}

TEST_CASE("normalize_axis: counts negative axes from the end and names the op") {
  CHECK(normalize_axis("op", -1, 3) == 2);
  CHECK(normalize_axis("op", 0, 3) == 0);
  CHECK_THROWS_WITH_AS(normalize_axis("op", 3, 3), "op: axis must be in [-3, 3); got 3",
                       ShapeError);
  CHECK_THROWS_AS(normalize_axis("op", -4, 3), ShapeError);
}
