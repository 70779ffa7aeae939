// The reader of CIFAR-10 batches.
#include <algorithm>

#include "data/cifar10.h"
#include "tests/fuzz/fuzz.h"

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  data::CifarBatch batch;
  if (!succeeds([&] { batch = data::parse_cifar_batch(input, "input"); })) return false;
  const auto labels = batch.labels.to_vector<std::int64_t>();
  const auto pixels = batch.images.to_vector<std::uint8_t>();
  expect(labels.size() * data::cifar_record == input.size(), "one label for each record");
  expect(std::all_of(labels.begin(), labels.end(), [](auto l) { return l >= 0 && l <= 9; }),
         "labels are 0 to 9");
  // The first red, and the last blue.
  expect(pixels.front() == input[1] && pixels.back() == input.back(), "planes become pixels");
  return true;
}
