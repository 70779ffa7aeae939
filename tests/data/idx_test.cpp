#include "data/idx.h"

#include <doctest/doctest.h>

#include "data/dataset.h"
#include "tensor/parallel.h"
#include "tests/data/sha256.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;
using support::gzip, support::idx_file, support::ramp, support::write_bytes;

namespace {

constexpr std::uint32_t image_magic = 0x0803, label_magic = 0x0801;

const Bytes images_3x2x4 = idx_file(image_magic, {3, 2, 4}, ramp(24));

Bytes joined(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes shortened(Bytes bytes, std::size_t by) {
  bytes.resize(bytes.size() - by);
  return bytes;
}

/// The size of the file's tensor, or the text of its FormatError.
std::string outcome(const Bytes& file, int rank = 3) {
  const std::string error = support::error_of<FormatError>([&] { parse_idx(file, "x", rank); });
  return error == "no error" ? parse_idx(file, "x", rank).shape().str() : error;
}

#define CHECK_OUTCOME(file, text, ...)                                        \
  CHECK_MESSAGE(outcome(file, ##__VA_ARGS__).find(text) != std::string::npos, \
                outcome(file, ##__VA_ARGS__))

}  // namespace

TEST_CASE("read_idx: plain and gzip files hold the same tensor") {
  const Tensor plain = parse_idx(images_3x2x4, "x", 3);
  CHECK(plain.shape() == Shape{3, 2, 4});
  CHECK(plain.to_vector<std::uint8_t>() == ramp(24));
  CHECK(parse_idx(gzip(images_3x2x4), "x", 3).to_vector<std::uint8_t>() == ramp(24));

  support::TemporaryFolder folder;
  write_bytes(folder / "with space ü.gz", gzip(images_3x2x4));
  CHECK(read_idx(folder / "with space ü.gz", 0).to_vector<std::uint8_t>() == ramp(24));
}

TEST_CASE("read_idx: gzip members in a row are one file, also when each is a byte") {
  Bytes members;
  for (const std::uint8_t byte : images_3x2x4) members = joined(members, gzip({byte}));
  CHECK(parse_idx(members, "x", 3).to_vector<std::uint8_t>() == ramp(24));
}

TEST_CASE("read_idx: content larger than its buffers is read whole") {
  const Bytes content = ramp(3 * 300 * 301, 251);
  const Bytes file = idx_file(image_magic, {3, 300, 301}, content);
  CHECK(parse_idx(file, "x", 3).to_vector<std::uint8_t>() == content);
  CHECK(parse_idx(gzip(file), "x", 3).to_vector<std::uint8_t>() == content);
}

TEST_CASE("read_idx: wrong magic numbers, types and ranks are refused with both numbers") {
  CHECK_OUTCOME(idx_file(0x08030000, {1}, {}), "byte 0: expected the IDX magic number 0x00000803");
  CHECK_OUTCOME(idx_file(0x08030000, {1}, {}), "got 0x08030000");
  CHECK_OUTCOME(idx_file(0x0D03, {1, 1, 1}, ramp(4)), "expected element type 0x08");
  CHECK_OUTCOME(idx_file(0x0800, {}, {}), "magic number");
  CHECK_OUTCOME(idx_file(0x0809, {1, 1, 1, 1, 1, 1, 1, 1, 1}, ramp(1)), "magic number");
  CHECK_OUTCOME(idx_file(0x0802, {2, 2}, ramp(4)), "expected 0x00000803 (images), got 0x00000802");
  CHECK_OUTCOME(idx_file(0x0802, {2, 2}, ramp(4)), "[2, 2]", 0);
  CHECK_OUTCOME(
      idx_file(label_magic, {4}, ramp(4)),
      "expected 0x00000803 (images), got 0x00000801 (labels): are the files of images and "
      "labels swapped?");
  CHECK_OUTCOME(images_3x2x4, "swapped?", 1);
  CHECK_OUTCOME({}, "the file ends after 0");
  CHECK_OUTCOME(Bytes({0, 0, 8}), "the file ends after 3");
}

TEST_CASE("read_idx: sizes of 0, sizes that overflow and a cut header are refused") {
  CHECK_OUTCOME(idx_file(image_magic, {3, 0, 4}, {}), "byte 8: the size of axis 1 must not be 0");
  CHECK_OUTCOME(idx_file(image_magic, {0xffffffff, 0xffffffff, 0xffffffff}, ramp(9)),
                "byte 8: the sizes of the axes overflow at axis 1");
  CHECK_OUTCOME(gzip(idx_file(image_magic, {0xffffffff, 0xffffffff, 2}, ramp(9))), "overflow");
  CHECK_OUTCOME(idx_file(image_magic, {3, 2}, {}),
                "expected a header of 16 bytes; the content ends after 12");
}

TEST_CASE("read_idx: files shorter or longer than their header says are refused") {
  CHECK_OUTCOME(shortened(images_3x2x4, 1),
                "expected 40 bytes for 24 elements of [3, 2, 4], got 39");
  CHECK_OUTCOME(joined(images_3x2x4, {7}), "got 41");
  CHECK_OUTCOME(gzip(shortened(images_3x2x4, 1)), "got 39");
  CHECK_OUTCOME(gzip(joined(images_3x2x4, {7})), "got more");
  // 1 TiB claimed by a small file: refused before memory is taken.
  const std::vector<std::uint32_t> huge = {1u << 20, 1u << 10, 1u << 10};
  CHECK_OUTCOME(idx_file(image_magic, huge, ramp(9)), "expected 1099511627792 bytes");
  CHECK_OUTCOME(gzip(idx_file(image_magic, huge, ramp(9))),
                "cannot be in a gzip file of this size");
}

TEST_CASE("read_idx: damaged, cut and continued gzip data is refused at every place") {
  const Bytes good = gzip(images_3x2x4);
  for (std::size_t cut = 1; cut < good.size() - 2; ++cut) {
    CAPTURE(cut);
    CHECK_OUTCOME(shortened(good, cut), "ends early, at byte");
  }
  Bytes wrong_crc = good, wrong_length = good;
  wrong_crc[good.size() - 8] ^= 1;
  wrong_length[good.size() - 4] ^= 1;
  CHECK_OUTCOME(wrong_crc, "damaged gzip data");
  CHECK_OUTCOME(wrong_crc, "incorrect data check");
  CHECK_OUTCOME(wrong_length, "incorrect length check");
  CHECK_OUTCOME(joined(good, support::text_bytes("garbage")), "got 7 more bytes");
  CHECK_OUTCOME(joined(good, {0}), "expected the end of the gzip data");
  CHECK_OUTCOME(joined(good, {0x1f}), "ends early");
  CHECK_OUTCOME(joined(good, {0x1f, 0x8b}), "ends early");
  CHECK_OUTCOME(joined(good, gzip({1})), "got more");
  for (std::size_t byte = 0; byte < good.size(); ++byte) {
    // Bytes 4 to 9 of the gzip header (time, flags, system) say nothing about the content, and the
    // last byte before the two check values has bits that fill it up.
    if ((byte >= 4 && byte < 10) || byte == good.size() - 9) continue;
    Bytes flipped = good;
    flipped[byte] ^= 0x10;
    CAPTURE(byte);
    CHECK(outcome(flipped) != "[3, 2, 4]");
  }
}

TEST_CASE("read_idx: a gzip bomb is refused as soon as it exceeds what the header says") {
  const Bytes bomb = gzip(idx_file(image_magic, {3, 2, 4}, Bytes(std::size_t{1} << 26)));
  CHECK(bomb.size() < 100'000);
  CHECK_OUTCOME(bomb, "expected 40 bytes for 24 elements of [3, 2, 4], got more");
}

TEST_CASE("read_idx: a web page is called a web page") {
  for (const char* page : {"<!DOCTYPE html><html>", "\n  <HTML lang=en>", "\xEF\xBB\xBF<html>",
                           "<?xml version=\"1.0\"?><Error>"}) {
    CHECK_OUTCOME(support::text_bytes(page), "x: this is a web page: the download failed");
    CHECK_OUTCOME(gzip(support::text_bytes(page)), "this is");
  }
}

TEST_CASE("read_idx: what is no readable file is an IoError that names it") {
  support::TemporaryFolder folder;
  CHECK_REFUSED(read_idx(folder / "nothing"), IoError, "nothing: cannot be opened: No such file");
  CHECK_REFUSED(read_idx(folder.path()), IoError, "expected a file; got a folder");
  CHECK_REFUSED(read_idx("/dev/null"), IoError, "expected a file; got a device, pipe or socket");
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  CHECK_REFUSED(read_idx(folder / "loop"), IoError, "loop: cannot be opened");
}

TEST_CASE("load_idx_dataset: images, labels and names, plain or gzip, either style of file name") {
  support::TemporaryFolder folder;
  write_bytes(folder / "train-images-idx3-ubyte", images_3x2x4);
  write_bytes(folder / "train-labels.idx1-ubyte.gz", gzip(idx_file(label_magic, {3}, {9, 0, 3})));
  const Dataset set = load_idx_dataset(folder.path(), Split::train, "fashion-mnist");
  CHECK(set.images.shape() == Shape{3, 2, 4, 1});
  CHECK(set.images.to_vector<std::uint8_t>() == ramp(24));
  CHECK(set.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{9, 0, 3});
  CHECK(set.class_names[9] == "Ankle boot");
  CHECK(load_idx_dataset(folder.path(), Split::train, "letters").class_names.empty());
  // As Kaggle unpacks it: each file in a folder of its name.
  support::TemporaryFolder kaggle;
  write_bytes(kaggle / "train-images-idx3-ubyte/train-images-idx3-ubyte", images_3x2x4);
  write_bytes(kaggle / "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
              idx_file(label_magic, {3}, {9, 0, 3}));
  CHECK(load_idx_dataset(kaggle.path()).labels.to_vector<std::int64_t>() ==
        std::vector<std::int64_t>{9, 0, 3});
  CHECK_REFUSED(
      load_idx_dataset(folder.path(), Split::test, "mnist"), IoError,
      "no file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz; scripts/get_data.sh mnist");
  CHECK_REFUSED(load_idx_dataset(folder / "no", Split::test, "fashion-mnist"), IoError,
                "apt-get install dataset-fashion-mnist");
}

TEST_CASE("load_idx_dataset: different numbers of images and labels are both named") {
  support::TemporaryFolder folder;
  write_bytes(folder / "train-images-idx3-ubyte", images_3x2x4);
  write_bytes(folder / "train-labels-idx1-ubyte", idx_file(label_magic, {2}, {1, 2}));
  CHECK_REFUSED(load_idx_dataset(folder.path()), FormatError,
                "train-images-idx3-ubyte has 3 images but");
  CHECK_REFUSED(load_idx_dataset(folder.path()), FormatError,
                "train-labels-idx1-ubyte has 2 labels");
  write_bytes(folder / "train-labels-idx1-ubyte", idx_file(label_magic, {3}, {1, 2, 10}));
  CHECK_REFUSED(load_idx_dataset(folder.path()), FormatError,
                "byte 10: expected a label below 10, got 10");
  // Swapped files.
  write_bytes(folder / "train-labels-idx1-ubyte", images_3x2x4);
  CHECK_REFUSED(load_idx_dataset(folder.path()), FormatError, "swapped?");
}

TEST_CASE("Sha256: the published value of \"abc\"") {
  support::Sha256 sha;
  sha.add(support::text_bytes("abc"));
  CHECK(sha.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("Fashion-MNIST as installed by Debian has the published content") {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    MESSAGE("SKIPPED: the package dataset-fashion-mnist is not installed");
    return;
  }
  const auto sha256 = [&](const char* name) {
    const Tensor tensor = read_idx(folder / (std::string(name) + ".gz"));
    std::vector<std::uint32_t> sizes(tensor.shape().begin(), tensor.shape().end());
    support::Sha256 sha;
    sha.add(idx_file(0x0800u + static_cast<std::uint32_t>(tensor.rank()), sizes, {}));
    sha.add({tensor.data<std::uint8_t>(), static_cast<std::size_t>(tensor.numel())});
    return sha.hex();
  };
  CHECK(sha256("train-images-idx3-ubyte") ==
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888");
  CHECK(sha256("train-labels-idx1-ubyte") ==
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9");
  CHECK(sha256("t10k-images-idx3-ubyte") ==
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b");
  CHECK(sha256("t10k-labels-idx1-ubyte") ==
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34");
  const Dataset test = load_idx_dataset(folder, Split::test, "fashion-mnist");
  CHECK(test.images.shape() == Shape{10000, 28, 28, 1});
  CHECK(test.count() == test.labels.numel());
}
