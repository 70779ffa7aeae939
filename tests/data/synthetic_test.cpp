#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "data/dataset.h"
#include "tensor/parallel.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;

TEST_CASE("make_synthetic: an image depends on seed and index only") {
  const Dataset all = make_synthetic(40, 5);
  CHECK(all.images.shape() == Shape{40, 28, 28, 1});
  const Dataset tail = make_synthetic(7, 5, {28, 1, 33});
  const auto whole = all.images.to_vector<std::uint8_t>(),
             part = tail.images.to_vector<std::uint8_t>();
  CHECK(
      std::equal(part.begin(), part.end(), whole.end() - static_cast<std::ptrdiff_t>(part.size())));
  CHECK(tail.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{3, 4, 5, 6, 7, 8, 9});
  CHECK(make_synthetic(40, 6).images.to_vector<std::uint8_t>() != whole);
  const int threads = num_threads();
  set_num_threads(3);
  CHECK(make_synthetic(40, 5).images.to_vector<std::uint8_t>() == whole);
  set_num_threads(threads);
}

TEST_CASE("make_synthetic: ten named classes that differ, inside the picture, with soft edges") {
  const Dataset set = make_synthetic(200, 1, {32, 3, 0});
  CHECK(set.images.shape() == Shape{200, 32, 32, 3});
  CHECK(set.class_names.size() == 10);
  const Dataset grey = make_synthetic(200, 1);
  const auto bytes = grey.images.to_vector<std::uint8_t>();
  for (std::size_t i = 0; i < 200; ++i) {
    const std::uint8_t* image = bytes.data() + i * 784;
    int light = 0, soft = 0, border = 0;
    const int ink = *std::max_element(image, image + 784);
    for (std::size_t p = 0; p < 784; ++p) {
      light += image[p] == ink;
      soft += image[p] > 0 && image[p] < ink;
      const bool edge = p < 28 || p >= 756 || p % 28 == 0 || p % 28 == 27;
      border += edge && image[p] > 0;
    }
    CAPTURE(i);
    CHECK(ink >= 178);
    CHECK(light >= 20);
    CHECK(soft >= 8);
    CHECK(soft <= 150);
    CHECK(border <= 8);  // a tilted corner may touch the border
  }
}

TEST_CASE("make_synthetic: the area of a disc is that of the formula") {
  // Of 300 discs the radius is uniform in 0.9 * [0.22, 0.38] * 28: mean area pi * 28^2 * 0.81 *
  // E[r^2].
  double covered = 0;
  std::int64_t discs = 0;
  const Dataset set = make_synthetic(3000, 2);
  const auto bytes = set.images.to_vector<std::uint8_t>();
  for (std::size_t i = 0; i < 3000; i += 10, ++discs) {
    const std::uint8_t* image = bytes.data() + i * 784;
    const double ink = *std::max_element(image, image + 784);
    for (std::size_t p = 0; p < 784; ++p) covered += image[p] / ink;
  }
  const double mean_square = (0.38 * 0.38 + 0.38 * 0.22 + 0.22 * 0.22) / 3;
  const double expected = 3.14159265 * 784 * 0.81 * mean_square;
  CHECK(std::abs(covered / static_cast<double>(discs) / expected - 1) < 0.07);
}

TEST_CASE("make_synthetic: impossible requests are refused") {
  CHECK_REFUSED(make_synthetic(0, 1), ValueError, "n >= 1");
  CHECK_REFUSED(make_synthetic(1, 1, {7, 1, 0}), ValueError, "size 7");
  CHECK_REFUSED(make_synthetic(1, 1, {28, 2, 0}), ValueError, "channels 2");
  CHECK_REFUSED(make_synthetic(1, 1, {28, 1, -1}), ValueError, "first -1");
}
