#include "data/batch.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/parallel.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;

namespace {

std::vector<std::int64_t> sorted(std::vector<std::int64_t> v) {
  std::sort(v.begin(), v.end());
  return v;
}

std::vector<std::int64_t> counting(std::int64_t n) {
  std::vector<std::int64_t> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

/// Images [n, 2, 3, channels] whose bytes are all told apart by place.
Dataset numbered(std::int64_t n, std::int64_t channels) {
  const auto bytes = support::ramp(static_cast<std::size_t>(n * 6 * channels), 253);
  std::vector<std::int64_t> labels = counting(n);
  return {Tensor::from(bytes, {n, 2, 3, channels}), Tensor::from(labels, {n}), "numbered", {}, {}};
}

}  // namespace

TEST_CASE("BatchSampler: each epoch visits every image once, for batches that divide n or do not") {
  for (const auto& [n, batch] : {std::pair{12, 4}, {10, 4}, {7, 7}, {5, 1}, {11, 6}}) {
    const BatchSampler sampler(n, batch, 3);
    std::vector<std::int64_t> seen;
    for (std::int64_t step = 0; step < 3 * n; ++step) {
      const auto indices = sampler.indices_at(step);
      REQUIRE(indices.size() == static_cast<std::size_t>(batch));
      seen.insert(seen.end(), indices.begin(), indices.end());
    }
    for (auto epoch = seen.begin(); epoch != seen.end(); epoch += n) {
      CHECK(sorted({epoch, epoch + n}) == counting(n));
    }
  }
}

TEST_CASE("BatchSampler: the sequence of images is the same for every batch size") {
  const auto sequence = [](std::int64_t batch) {
    const BatchSampler sampler(10, batch, 5);
    std::vector<std::int64_t> seen;
    for (std::int64_t step = 0; step < 60 / batch; ++step) {
      for (const std::int64_t i : sampler.indices_at(step)) seen.push_back(i);
    }
    return seen;
  };
  CHECK(sequence(1) == sequence(4));
  CHECK(sequence(1) == sequence(10));
}

TEST_CASE("BatchSampler: a step asked for out of order gives what the run in order saw") {
  const BatchSampler in_order(10, 4, 7);
  std::vector<std::vector<std::int64_t>> steps;
  for (std::int64_t step = 0; step < 40; ++step) steps.push_back(in_order.indices_at(step));
  for (const std::int64_t step : {39, 0, 17, 16, 2, 38, 3, 3}) {
    CHECK(BatchSampler(10, 4, 7).indices_at(step) == steps[static_cast<std::size_t>(step)]);
    CHECK(in_order.indices_at(step) == steps[static_cast<std::size_t>(step)]);
  }
}

TEST_CASE("BatchSampler: epochs and seeds have different orders; epoch and cursor count images") {
  const BatchSampler sampler(100, 32, 1);
  CHECK(sampler.order(0) != sampler.order(1));
  CHECK(sampler.order(0) != BatchSampler(100, 32, 2).order(0));
  CHECK(sampler.order(0) != counting(100));
  CHECK(sampler.epoch_at(3) == 0);
  CHECK(sampler.cursor_at(3) == 96);
  CHECK(sampler.epoch_at(4) == 1);
  CHECK(sampler.cursor_at(4) == 28);
}

TEST_CASE("BatchSampler: batches of 0 or more than the images, and impossible steps, are refused") {
  CHECK_REFUSED(BatchSampler(10, 11, 0), ValueError,
                "the batch must be from 1 to the number of images, 10; got 11");
  CHECK_REFUSED(BatchSampler(10, 0, 0), ValueError, "got 0");
  CHECK_REFUSED(BatchSampler(0, 1, 0), ValueError, "images, 0");
  CHECK_REFUSED(BatchSampler(10, 2, 0).indices_at(-1), ValueError, "no step -1");
  CHECK_REFUSED(BatchSampler(10, 2, 0).indices_at(std::numeric_limits<std::int64_t>::max()),
                ValueError, "no step");
}

TEST_CASE("gather_batch: bytes become x / 127.5 - 1 in the order of the indices") {
  const Dataset set = numbered(4, 3);
  const std::vector<std::int64_t> indices = {2, 0, 2};
  const auto x = gather_batch(set, indices).to_vector<float>();
  const auto bytes = set.images.to_vector<std::uint8_t>();
  REQUIRE(x.size() == 3 * 18);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto source = static_cast<std::size_t>(indices[i / 18]) * 18 + i % 18;
    CHECK(x[i] == static_cast<float>(bytes[source] / 127.5 - 1.0));
  }
  CHECK(gather_labels(set, indices).to_vector<std::int64_t>() == indices);
  CHECK_REFUSED(gather_batch(set, {4}), ValueError, "indices must be in [0, 4); got 4");
  CHECK_REFUSED(gather_labels(set, {-1}), ValueError, "got -1");
  CHECK_REFUSED(gather_labels({set.images, {}, "plain", {}, {}}, {0}), ValueError,
                "plain has no labels");
}

TEST_CASE("gather_batch: a flip mirrors rows, about half of the time, whatever the batch split") {
  const Dataset set = numbered(1, 3);
  const std::vector<std::int64_t> indices(2000, 0);
  Rng rng(11, Purpose::augment);
  rng.seek(6);
  const Tensor whole = gather_batch(set, indices, &rng);
  rng.seek(6, 1500);
  const auto tail = gather_batch(set, std::vector<std::int64_t>(500, 0), &rng).to_vector<float>();
  const auto x = whole.to_vector<float>();
  CHECK(std::equal(tail.begin(), tail.end(), x.end() - 500 * 18));

  const auto plain = gather_batch(set, {0}).to_vector<float>();
  std::vector<float> mirrored;
  for (const int place : {6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11}) {
    mirrored.push_back(plain[static_cast<std::size_t>(place)]);
  }
  int flips = 0, neither = 0;
  for (auto image = x.begin(); image != x.end(); image += 18) {
    flips += std::equal(mirrored.begin(), mirrored.end(), image);
    neither += !std::equal(mirrored.begin(), mirrored.end(), image) &&
               !std::equal(plain.begin(), plain.end(), image);
  }
  CHECK(neither == 0);
  CHECK(std::abs(flips - 1000) < 112);  // five standard deviations
}

TEST_CASE("gather_batch: any number of threads gives the same batch") {
  const Dataset set = numbered(50, 1);
  Rng rng(1, Purpose::augment);
  const int threads = num_threads();
  set_num_threads(1);
  const auto one = gather_batch(set, counting(50), &rng).to_vector<float>();
  for (const int n : {2, 3, 8}) {
    set_num_threads(n);
    rng.seek(0);
    CHECK(gather_batch(set, counting(50), &rng).to_vector<float>() == one);
  }
  set_num_threads(threads);
}

TEST_CASE("to_bytes: inverse of gather_batch for all bytes; rounds, clamps, and NaN becomes 0") {
  const Tensor all = Tensor::from(support::ramp(256), {1, 16, 16, 1});
  CHECK(to_bytes(from_bytes(all)).to_vector<std::uint8_t>() == support::ramp(256));
  CHECK(to_bytes(gather_batch({all, {}, "", {}, {}}, {0})).to_vector<std::uint8_t>() ==
        support::ramp(256));
  constexpr float inf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::from<float>({-1.5f, 1.5f, -inf, inf, std::nanf(""), 0.0f,
                                        100.4f / 127.5f - 1, 100.6f / 127.5f - 1, 1e30f},
                                       {9});
  CHECK(to_bytes(x).to_vector<std::uint8_t>() ==
        std::vector<std::uint8_t>{0, 255, 0, 255, 0, 128, 100, 101, 255});
  CHECK_REFUSED(to_bytes(all), DTypeError, "f32");
}

TEST_CASE("subset: chosen images with their labels and names") {
  const Dataset set = numbered(5, 1);
  const Dataset part = subset(set, {3, 3, 0});
  CHECK(part.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{3, 3, 0});
  const auto from = set.images.to_vector<std::uint8_t>(),
             to = part.images.to_vector<std::uint8_t>();
  CHECK(std::equal(to.begin(), to.begin() + 6, from.begin() + 18));
  CHECK(std::equal(to.begin() + 12, to.end(), from.begin()));
  CHECK(subset(set, 1, 3).labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{1, 2, 3});
  CHECK(subset(set, 5, 0).count() == 0);
  CHECK_REFUSED(subset(set, 3, 3), ValueError, "must be in [0, 5)");
  CHECK_REFUSED(subset(set, {5}), ValueError, "got 5");
}
