#include <doctest/doctest.h>
#include <sys/stat.h>

#include "data/dataset.h"
#include "data/png.h"
#include "tests/data/png_support.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;
using support::make_png, support::TemporaryFolder, support::write_bytes;

namespace {

/// A 4 x 4 grey file of one value.
Bytes flat(std::uint8_t value) {
  return make_png({4, 4, PNG_COLOR_TYPE_GRAY, 8}, Bytes(16, value));
}

/// The first byte of each image.
std::vector<int> first_bytes(const Dataset& set) {
  const auto all = set.images.to_vector<std::uint8_t>();
  std::vector<int> first;
  for (std::size_t i = 0; i < all.size(); i += all.size() / static_cast<std::size_t>(set.count())) {
    first.push_back(all[i]);
  }
  return first;
}

Tensor ramp_image(std::int64_t height, std::int64_t width, std::int64_t channels = 1) {
  return Tensor::from(support::ramp(static_cast<std::size_t>(height * width * channels)),
                      {height, width, channels});
}

}  // namespace

TEST_CASE("load_image_folder: files in order of their paths, other and hidden files ignored") {
  TemporaryFolder folder;
  write_bytes(folder / "b.png", flat(2));
  write_bytes(folder / "a.PNG", flat(1));
  write_bytes(folder / "c ü.png", flat(3));
  write_bytes(folder / ".hidden.png", flat(9));
  write_bytes(folder / ".git/x.png", flat(9));
  write_bytes(folder / "notes.txt", {1});
  const Dataset set = load_image_folder(folder.path(), {4, 1, true});
  CHECK(set.images.shape() == Shape{3, 4, 4, 1});
  CHECK(first_bytes(set) == std::vector<int>{1, 2, 3});
  CHECK(!set.labels.defined());
  CHECK(set.skipped.empty());
  CHECK(load_image_folder(folder.path(), {2, 3, true}).images.shape() == Shape{3, 2, 2, 3});
}

TEST_CASE("load_image_folder: every colour type is read") {
  TemporaryFolder folder;
  write_bytes(folder / "1.png", make_png({1, 1, PNG_COLOR_TYPE_GRAY, 16}, {10, 10}));
  write_bytes(folder / "2.png",
              make_png({1, 1, PNG_COLOR_TYPE_PALETTE, 8, false, {{20, 20, 20}}}, {0}));
  write_bytes(folder / "3.png", make_png({1, 1, PNG_COLOR_TYPE_RGBA, 8, true}, {30, 30, 30, 255}));
  write_bytes(folder / "4.png", make_png({1, 1, PNG_COLOR_TYPE_GA, 8}, {0, 0}));
  write_bytes(folder / "5.png", make_png({1, 1, PNG_COLOR_TYPE_RGB, 16}, {50, 50, 50, 50, 50, 50}));
  CHECK(first_bytes(load_image_folder(folder.path(), {1, 3, true})) ==
        std::vector<int>{10, 20, 30, 255, 50});
  CHECK(first_bytes(load_image_folder(folder.path(), {1, 1, true})) ==
        std::vector<int>{10, 20, 30, 255, 50});
}

TEST_CASE("load_image_folder: subfolders are classes, files beside them are left out") {
  TemporaryFolder folder;
  write_bytes(folder / "dog/2.png", flat(20));
  write_bytes(folder / "cat/deep/er/1.png", flat(11));
  write_bytes(folder / "cat/9.png", flat(10));
  write_bytes(folder / "dog/1.png", flat(21));
  write_bytes(folder / "zebra/readme.txt", {1});
  const Dataset set = load_image_folder(folder.path(), {4, 1, true});
  CHECK(set.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(first_bytes(set) == std::vector<int>{10, 11, 21, 20});
  CHECK(set.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 0, 1, 1});

  write_bytes(folder / "stray.png", flat(5));
  CHECK(load_image_folder(folder.path(), {4, 1, false}).skipped.size() == 1);
  CHECK(load_image_folder(folder.path(), {4, 1, false}).count() == 4);
  write_bytes(folder / "cat/a.jpg", {1});
  write_bytes(folder / "LICENSE", {1});
  CHECK(load_image_folder(folder.path(), {4, 1, false}).left_out ==
        "1 images beside the folders of the classes; 3 files of other kinds (1 without an "
        "extension, 1 .jpg, 1 .txt)");
  CHECK_REFUSED(load_image_folder(folder.path(), {4, 1, true}), FormatError,
                "stray.png: stands beside the folders of the classes");
}

TEST_CASE("load_image_folder: damaged files are skipped and named, or refused when strict") {
  TemporaryFolder folder;
  const Bytes whole = flat(2);
  const Bytes cut(whole.begin(), whole.end() - 20);
  write_bytes(folder / "a/1.png", flat(1));
  write_bytes(folder / "a/2.png", cut);
  write_bytes(folder / "b/3.png", flat(3));
  write_bytes(folder / "b/4.png", support::text_bytes("<html>"));
  write_bytes(folder / "b/5.png", {});
  auto huge = support::chunks(flat(0));
  huge[0].second[2] = huge[0].second[6] = 0xEA;  // 0xEA04 = 59908 pixels wide and high
  write_bytes(folder / "b/6.png", support::assemble(huge));
  REQUIRE(::mkfifo((folder / "b/7.png").c_str(), 0600) == 0);
  std::filesystem::create_symlink(folder / "b/8.png", folder / "b/8.png");
  const Dataset set = load_image_folder(folder.path(), {4, 1, false});
  CHECK(first_bytes(set) == std::vector<int>{1, 3});
  CHECK(set.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1});
  REQUIRE(set.skipped.size() == 6);
  CHECK(set.skipped[0].find("a/2.png: damaged PNG") != std::string::npos);
  CHECK(set.skipped[1].find("b/4.png: this is a web page") != std::string::npos);
  CHECK(set.skipped[2].find("b/5.png: byte 0: expected a PNG signature") != std::string::npos);
  CHECK(set.skipped[3].find("b/6.png: expected at most 67108864 pixels, got 59908 x 59908") !=
        std::string::npos);
  CHECK(set.skipped[4].find("b/7.png: expected a file; got a device, pipe") != std::string::npos);
  CHECK(set.skipped[5].find("b/8.png: cannot be opened") != std::string::npos);
  CHECK_REFUSED(load_image_folder(folder.path(), {4, 1, true}), FormatError,
                "a/2.png: damaged PNG");
  std::filesystem::remove_all(folder / "a");
  std::filesystem::remove(folder / "b/3.png");
  CHECK_REFUSED(load_image_folder(folder.path(), {4, 1, false}), FormatError,
                "none of the 5 .png files can be read; the first: ");
}

TEST_CASE("load_image_folder: links to files are followed, loops of folders are not") {
  TemporaryFolder folder;
  write_bytes(folder / "in/1.png", flat(1));
  std::filesystem::create_directory_symlink(folder.path(), folder / "in/loop");
  std::filesystem::create_symlink(folder / "in/1.png", folder / "in/2.png");
  const Dataset set = load_image_folder(folder.path(), {4, 1, true});
  CHECK(set.count() == 2);
  CHECK(set.left_out == "1 links to a folder above themselves");
}

TEST_CASE("load_image_folder: a class may be a link to a folder elsewhere") {
  TemporaryFolder folder, elsewhere;
  write_bytes(folder / "dog/1.png", flat(20));
  write_bytes(elsewhere / "1.png", flat(10));
  std::filesystem::create_directory_symlink(elsewhere.path(), folder / "cat");
  const Dataset set = load_image_folder(folder.path(), {4, 1, true});
  CHECK(set.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(first_bytes(set) == std::vector<int>{10, 20});
  CHECK(set.left_out.empty());
}

TEST_CASE("load_image_folder: empty, missing and impossible requests are refused") {
  TemporaryFolder folder;
  CHECK_REFUSED(load_image_folder(folder.path()), IoError,
                "no .png files here (0 files of other kinds");
  write_bytes(folder / "photo.jpg", {1});
  CHECK_REFUSED(load_image_folder(folder.path()), IoError,
                "no .png files here (1 files of other kinds (1 .jpg); ito reads PNG only)");
  CHECK_REFUSED(load_image_folder(folder / "none"), IoError,
                "none: cannot be listed: No such file");
  CHECK_REFUSED(load_image_folder(folder / "photo.jpg"), IoError,
                "cannot be listed: Not a directory");
  CHECK_REFUSED(load_image_folder(folder.path(), {0, 1, false}), ValueError, "got 0, 1");
  CHECK_REFUSED(load_image_folder(folder.path(), {8, 4, false}), ValueError,
                "channels 1 or 3; got 8, 4");
}

TEST_CASE("fit_square: a square of the wanted size is unchanged, a wider picture loses its sides") {
  const Tensor square = ramp_image(6, 6, 3);
  CHECK(fit_square(square, 6).to_vector<std::uint8_t>() == square.to_vector<std::uint8_t>());
  CHECK(fit_square(ramp_image(1, 5), 1).to_vector<std::uint8_t>() == Bytes{2});
  CHECK(fit_square(ramp_image(5, 1), 1).to_vector<std::uint8_t>() == Bytes{2});
  CHECK(fit_square(ramp_image(2, 5), 2).to_vector<std::uint8_t>() == Bytes{1, 2, 6, 7});
}

TEST_CASE("fit_square: shrinking takes the mean of the area, also of parts of pixels") {
  CHECK(fit_square(ramp_image(4, 4), 2).to_vector<std::uint8_t>() ==
        Bytes{3, 5, 11, 13});  // 2.5, 4.5, 10.5, 12.5, halves upwards
  // 3 to 2: weights 2/3 and 1/3 on each axis, around the mean 4.
  const Tensor three = Tensor::from<std::uint8_t>({0, 90, 180, 0, 90, 180, 0, 90, 180}, {3, 3, 1});
  CHECK(fit_square(three, 2).to_vector<std::uint8_t>() == Bytes{30, 150, 30, 150});
  CHECK(fit_square(Tensor::full({37, 53, 3}, 200, DType::u8), 10).to_vector<std::uint8_t>() ==
        Bytes(300, 200));
}

TEST_CASE("fit_square: enlarging interpolates between the centres of pixels") {
  const Tensor two = Tensor::from<std::uint8_t>({0, 100, 0, 100}, {2, 2, 1});
  const auto wide = fit_square(two, 4).to_vector<std::uint8_t>();
  CHECK(Bytes(wide.begin(), wide.begin() + 4) == Bytes{0, 25, 75, 100});
  CHECK(Bytes(wide.end() - 4, wide.end()) == Bytes{0, 25, 75, 100});
  CHECK(fit_square(Tensor::full({1, 1, 1}, 9, DType::u8), 3).to_vector<std::uint8_t>() ==
        Bytes(9, 9));
  CHECK_REFUSED(fit_square(two, 0), ValueError, "size must be from 1 to 4096");
  CHECK_REFUSED(fit_square(Tensor::zeros({0, 2, 1}, DType::u8), 2), ValueError,
                "must not be empty");
}
