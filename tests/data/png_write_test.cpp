#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>

#include "data/dataset.h"
#include "data/png.h"
#include "tensor/parallel.h"
#include "tests/data/png_support.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;
using support::assemble, support::chunks, support::decode;

namespace {

/// Noise, gradients and flat parts, so that every filter is used.
Tensor picture(std::int64_t height, std::int64_t width, std::int64_t channels) {
  Tensor image = Tensor::empty({height, width, channels}, DType::u8);
  std::uint8_t* p = image.mutable_data<std::uint8_t>();
  std::uint32_t state = 1;
  for (std::int64_t i = 0; i < image.numel(); ++i) {
    const std::int64_t y = i / (width * channels), x = i / channels % width, c = i % channels;
    state = state * 1664525u + 1013904223u;
    const std::int64_t smooth = 3 * x + 5 * y + 40 * c, part = (y / 8 + x / 8) % 4;
    p[i] = static_cast<std::uint8_t>(part == 0   ? smooth
                                     : part == 1 ? state >> 24
                                     : part == 2 ? 2 * x
                                                 : 200);
  }
  return image;
}

/// The pixels as RGB, whatever the number of channels.
Bytes rgb(const Tensor& image) {
  Bytes out;
  for (const std::uint8_t value : image.to_vector<std::uint8_t>()) {
    out.insert(out.end(), image.size(-1) == 1 ? 3 : 1, value);
  }
  return out;
}

std::uint32_t u16(const Bytes& data, std::size_t at) { return data[at] * 256u + data[at + 1]; }

}  // namespace

TEST_CASE("encode_png: libpng decodes the pixels that were encoded, at every small size") {
  for (const std::int64_t channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair{1, 1}, {1, 9}, {9, 1}, {7, 5}, {64, 40}}) {
      const Tensor image = picture(height, width, channels);
      const auto decoded = decode(encode_png(image));
      CHECK(decoded.width == width);
      CHECK(decoded.height == height);
      CHECK(decoded.rgb == rgb(image));
    }
  }
}

TEST_CASE("encode_png: prediction makes smooth pictures small") {
  Tensor smooth = Tensor::empty({256, 256, 3}, DType::u8);
  std::uint8_t* p = smooth.mutable_data<std::uint8_t>();
  for (int i = 0; i < 256 * 256 * 3; ++i) p[i] = static_cast<std::uint8_t>(i / 768 + i / 3 % 256);
  CHECK(encode_png(smooth).size() < 4096);  // 196,608 bytes of pixels
}

TEST_CASE("encode_png: wrong shapes, types and keywords are refused") {
  CHECK_REFUSED(encode_png(Tensor::zeros({4, 4, 2}, DType::u8)), ShapeError, "1 or 3 channels");
  CHECK_REFUSED(encode_png(Tensor::zeros({0, 4, 1}, DType::u8)), ShapeError, "u8[0, 4, 1]");
  CHECK_REFUSED(encode_png(Tensor::zeros({4, 4}, DType::u8)), ShapeError, "image");
  CHECK_REFUSED(encode_png(Tensor::zeros({4, 4, 3})), DTypeError, "u8");
  const Tensor image = picture(2, 2, 1);
  for (const std::string& keyword :
       {std::string(), std::string(80, 'k'), std::string(" a"), std::string("a "),
        std::string("a  b"), std::string("ü"), std::string("a\0b", 3)}) {
    CHECK_REFUSED(encode_png(image, {{keyword, "v"}}), ValueError, "a keyword is 1 to 79");
  }
}

TEST_CASE("read_png_info: texts written are read back; Latin-1 goes to tEXt, the rest to iTXt") {
  const PngText text = {
      {"seed", "42"},          {"author", "Itô"}, {"schedule", "σ² = 0…1 🙂"},
      {"empty", ""},           {"lines", "a\nb"}, {std::string(79, 'k'), "long"},
      {"seed", "second value"}};
  const Bytes file = encode_png(picture(4, 4, 3), text);
  const PngInfo info = parse_png_info(file, "x");
  CHECK(info.text == text);
  CHECK(info.width == 4);
  CHECK(info.height == 4);
  CHECK(info.colour() == "RGB");
  CHECK(info.frames == 1);
  std::string types;
  for (const auto& [type, data] : chunks(file)) types += type + " ";
  CHECK(types == "IHDR tEXt tEXt iTXt tEXt tEXt tEXt tEXt IDAT IEND ");
  CHECK(decode(file).rgb == rgb(picture(4, 4, 3)));
}

TEST_CASE("read_png_info: bytes that are no UTF-8, and NUL, become replacement characters") {
  const std::string bad[][2] = {{"a\xFFz", "a\uFFFDz"},
                                {std::string("a\0z", 3), "a\uFFFDz"},
                                {"\xC0\xAF", "\uFFFD\uFFFD"},            // longer than needed
                                {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},  // a surrogate
                                {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
                                {"\xE2\x82", "\uFFFD\uFFFD"}};  // cut
  for (const auto& [given, expected] : bad) {
    const PngInfo info = parse_png_info(encode_png(picture(1, 1, 1), {{"k", given}}), "x");
    CHECK(info.text[0].second == expected);
  }
}

TEST_CASE("write_png: the file appears whole or not at all, and no temporary file stays") {
  support::TemporaryFolder folder;
  const auto path = folder / "a picture.png";
  write_png(path, picture(8, 8, 3));
  const Bytes first = support::read_bytes(path);
  CHECK(first == encode_png(picture(8, 8, 3)));
  write_png(path, picture(9, 9, 3));
  CHECK(support::read_bytes(path) == encode_png(picture(9, 9, 3)));
  CHECK_REFUSED(write_png(folder / "no/such.png", picture(8, 8, 3)), IoError,
                "such.png: cannot be written: No such file");

  // A limit on the size of files stands in for a full disk.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{1000, limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string error =
      support::error_of<IoError>([&] { write_png(path, picture(64, 64, 3)); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  CHECK(error.find("a picture.png: cannot be written: File too large") != std::string::npos);
  CHECK(support::read_bytes(path) == encode_png(picture(9, 9, 3)));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE(
    "encode_apng: chunks are numbered and timed, and the frames put together are those given") {
  const Dataset shapes = make_synthetic(4, 9, {32, 3, 0});
  Tensor frames = Tensor::empty({6, 32, 32, 3}, DType::u8);
  // 0, 1, 1 (no change), 2, 3, and 3 with one other pixel in the last corner.
  Bytes all;
  for (const std::int64_t i : {0, 1, 1, 2, 3, 3}) {
    const auto one = subset(shapes, i, 1).images.to_vector<std::uint8_t>();
    all.insert(all.end(), one.begin(), one.end());
  }
  all.back() ^= 0xff;
  frames = Tensor::from(all, {6, 32, 32, 3});
  const Bytes file = encode_apng(frames, {40, 900, 3}, {{"steps", "6"}});
  CHECK(parse_png_info(file, "x").frames == 6);
  CHECK(parse_png_info(file, "x").text == PngText{{"steps", "6"}});

  const auto parts = chunks(file);
  CHECK(parts[0].first == "IHDR");
  CHECK(parts[1].first == "acTL");
  CHECK(parts[1].second == Bytes{0, 0, 0, 6, 0, 0, 0, 3});
  Bytes canvas;
  std::uint32_t sequence = 0;
  std::size_t frame = 0;
  Bytes control;
  for (const auto& [type, data] : parts) {
    if (type == "fcTL") {
      control = data;
      CHECK(load_u32(&data[0]) == sequence++);
      CHECK(u16(data, 20) == (frame == 5 ? 900 : 40));
      CHECK(u16(data, 22) == 1000);
      CHECK(u16(data, 24) == 0);  // no disposal, no blending
    }
    if (type != "IDAT" && type != "fdAT") continue;
    if (type == "fdAT") CHECK(load_u32(&data[0]) == sequence++);
    const std::uint32_t width = load_u32(&control[4]), height = load_u32(&control[8]);
    const std::uint32_t left = load_u32(&control[12]), top = load_u32(&control[16]);
    Bytes header = parts[0].second;
    std::copy_n(control.begin() + 4, 8, header.begin());
    const Bytes pixels(data.begin() + (type == "fdAT" ? 4 : 0), data.end());
    const auto decoded = decode(assemble({{"IHDR", header}, {"IDAT", pixels}, {"IEND", {}}}));
    CHECK(decoded.width == width);
    CHECK(decoded.height == height);
    if (frame == 0) canvas.resize(32 * 32 * 3);
    REQUIRE(left + width <= 32);
    REQUIRE(top + height <= 32);
    for (std::uint32_t y = 0; y < height; ++y) {
      std::copy_n(decoded.rgb.begin() + y * width * 3, width * 3,
                  canvas.begin() + ((top + y) * 32 + left) * 3);
    }
    CHECK(std::equal(canvas.begin(), canvas.end(),
                     all.begin() + static_cast<std::ptrdiff_t>(frame * canvas.size())));
    if (frame == 2 || frame == 5) CHECK(width * height == 1);
    ++frame;
  }
  CHECK(frame == 6);
  CHECK(decode(file).rgb == Bytes(all.begin(), all.begin() + 32 * 32 * 3));
}

TEST_CASE("encode_apng: bad times and frames are refused; one frame is enough") {
  const Tensor frames = picture(4, 4, 3).view({1, 4, 4, 3});
  CHECK(parse_png_info(encode_apng(frames), "x").frames == 1);
  CHECK_REFUSED(encode_apng(frames, {0, 1, 0}), ValueError, "times must be from 1 to 65535 ms");
  CHECK_REFUSED(encode_apng(frames, {1, 70000, 0}), ValueError, "70000");
  CHECK_REFUSED(encode_apng(frames, {1, 1, -1}), ValueError, "loops >= 0");
  CHECK_REFUSED(encode_apng(picture(4, 4, 3)), ShapeError, "frames");
}

TEST_CASE("encode_apng: any number of threads gives the same bytes") {
  const Tensor frames = make_synthetic(9, 1).images;
  const int threads = num_threads();
  set_num_threads(1);
  const Bytes one = encode_apng(frames);
  set_num_threads(3);
  CHECK(encode_apng(frames) == one);
  set_num_threads(threads);
}

TEST_CASE("image_grid: images stand in rows with padding around them") {
  const Tensor images = Tensor::from<std::uint8_t>({1, 2, 3, 4, 5, 6}, {3, 1, 2, 1});
  const Tensor grid = image_grid(images, 2, {1, 9});
  CHECK(grid.shape() == Shape{5, 7, 1});
  CHECK(grid.to_vector<std::uint8_t>() == Bytes{9, 9, 9, 9, 9, 9, 9,  //
                                                9, 1, 2, 9, 3, 4, 9,  //
                                                9, 9, 9, 9, 9, 9, 9,  //
                                                9, 5, 6, 9, 9, 9, 9,  //
                                                9, 9, 9, 9, 9, 9, 9});
  CHECK(image_grid(images, 0, {0, 0}).shape() == Shape{2, 4, 1});  // 2 x 2 is nearest to a square
  CHECK(image_grid(images, 9, {0, 0}).shape() == Shape{1, 6, 1});  // no more columns than images
  CHECK(image_grid(Tensor::zeros({1, 1, 1, 3}), 1, {0, 0}).to_vector<std::uint8_t>() ==
        Bytes{128, 128, 128});
  CHECK_REFUSED(image_grid(Tensor::zeros({0, 4, 4, 1})), ShapeError, "one or more images");
  CHECK_REFUSED(image_grid(Tensor::zeros({1, 4, 4, 2})), ShapeError, "1 or 3 channels");
  CHECK_REFUSED(image_grid(images, -1), ValueError, "columns >= 0");
  CHECK_REFUSED(image_grid(images, 1, {-1, 0}), ValueError, "padding");
  CHECK_REFUSED(image_grid(images, 1, {0, 256}), ValueError, "background");
}

TEST_CASE("upscale: every pixel becomes a block") {
  const Tensor image = Tensor::from<std::uint8_t>({1, 2, 3, 4, 5, 6}, {2, 1, 3});
  const Tensor large = upscale(image, 2);
  CHECK(large.shape() == Shape{4, 2, 3});
  CHECK(large.to_vector<std::uint8_t>() ==
        Bytes{1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6, 4, 5, 6});
  const Tensor two = Tensor::from<std::uint8_t>({7, 8}, {2, 1, 1, 1});
  CHECK(upscale(two, 2).to_vector<std::uint8_t>() == Bytes{7, 7, 7, 7, 8, 8, 8, 8});
  CHECK(upscale(image, 1).to_vector<std::uint8_t>() == image.to_vector<std::uint8_t>());
  CHECK_REFUSED(upscale(image, 0), ValueError, "factor");
  CHECK_REFUSED(upscale(Tensor::zeros({2, 2}, DType::u8), 2), ShapeError, "[H, W, C]");
}
