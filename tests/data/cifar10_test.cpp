#include "data/cifar10.h"

#include <doctest/doctest.h>

#include "data/dataset.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;
using support::write_bytes;

namespace {

/// `count` records; value of pixel (y, x), channel c in record i: a number that tells them all
/// apart.
std::uint8_t value(std::size_t i, std::size_t y, std::size_t x, std::size_t c) {
  return static_cast<std::uint8_t>(i * 101 + y * 7 + x * 3 + c * 50);
}

Bytes batch_file(std::size_t count, std::size_t first = 0) {
  Bytes file;
  for (std::size_t i = first; i < first + count; ++i) {
    file.push_back(static_cast<std::uint8_t>(i % 10));
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t p = 0; p < 1024; ++p) file.push_back(value(i, p / 32, p % 32, c));
    }
  }
  return file;
}

}  // namespace

TEST_CASE("read_cifar_batch: planes become pixels, labels become i64") {
  const CifarBatch batch = parse_cifar_batch(batch_file(3), "x");
  REQUIRE(batch.images.shape() == Shape{3, 32, 32, 3});
  CHECK(batch.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 2});
  const auto pixels = batch.images.to_vector<std::uint8_t>();
  std::size_t wrong = 0, at = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t p = 0; p < 1024; ++p) {
      for (std::size_t c = 0; c < 3; ++c) wrong += pixels[at++] != value(i, p / 32, p % 32, c);
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("read_cifar_batch: wrong sizes, labels and web pages are refused") {
  Bytes file = batch_file(3);
  file[2 * 3073] = 10;
  CHECK_REFUSED(parse_cifar_batch(file, "b.bin"), FormatError,
                "b.bin: byte 6146: expected a label from 0 to 9 in record 2, got 10");
  file = batch_file(2);
  file.pop_back();
  CHECK_REFUSED(parse_cifar_batch(file, "b.bin"), FormatError,
                "expected records of 3073 bytes, got 6145 bytes: 1 records and 3072 bytes more");
  CHECK_REFUSED(parse_cifar_batch({}, "b.bin"), FormatError, "got 0 bytes");
  CHECK_REFUSED(parse_cifar_batch(support::text_bytes("<!doctype html>"), "b.bin"), FormatError,
                "b.bin: this is a web page: the download failed");
  Bytes page = support::text_bytes("<html>");
  page.resize(3073, ' ');
  CHECK_REFUSED(parse_cifar_batch(page, "b.bin"), FormatError, "web page");
}

TEST_CASE("load_cifar10: five files in order, from the folder or the one inside") {
  support::TemporaryFolder folder;
  for (std::size_t k = 0; k < 5; ++k) {
    write_bytes(folder.path() / "cifar-10-batches-bin" / fmt::format("data_batch_{}.bin", k + 1),
                batch_file(k + 1, 10 * k));
  }
  for (const auto& place : {folder.path(), folder / "cifar-10-batches-bin"}) {
    const Dataset set = load_cifar10(place);
    CHECK(set.images.shape() == Shape{15, 32, 32, 3});
    CHECK(set.labels.to_vector<std::int64_t>() ==
          std::vector<std::int64_t>{0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4});
    CHECK(set.images.to_vector<std::uint8_t>().back() == value(44, 31, 31, 2));
    CHECK(set.class_names[3] == "cat");
  }
  CHECK_REFUSED(
      load_cifar10(folder.path(), Split::test), IoError,
      "no file test_batch.bin or cifar-10-batches-bin/test_batch.bin; scripts/get_data.sh");
  write_bytes(folder / "cifar-10-binary.tar.gz", {1});
  CHECK_REFUSED(load_cifar10(folder.path(), Split::test), IoError, "unpack cifar-10-binary.tar.gz");
  std::filesystem::remove(folder / "cifar-10-batches-bin/data_batch_3.bin");
  CHECK_REFUSED(load_cifar10(folder.path()), IoError, "data_batch_3.bin: cannot be opened");
}
