#include <doctest/doctest.h>

#include "data/describe.h"
#include "data/png.h"
#include "tensor/memory.h"
#include "tests/data/png_support.h"
#include "tests/data/support.h"

using namespace ito;
using namespace ito::data;
using support::assemble, support::chunks, support::make_png, support::PngSpec;

namespace {

Bytes pixels(const Bytes& file, int channels = 0) {
  return decode_png(file, "x", channels).to_vector<std::uint8_t>();
}

const Bytes small = make_png({2, 2, PNG_COLOR_TYPE_RGB, 8}, support::ramp(12));

}  // namespace

TEST_CASE("read_png: 8-bit grey and RGB come back as they are, interlaced or not") {
  for (const bool interlaced : {false, true}) {
    const Bytes grey = make_png({11, 9, PNG_COLOR_TYPE_GRAY, 8, interlaced}, support::ramp(99));
    CHECK(decode_png(grey, "x").shape() == Shape{9, 11, 1});
    CHECK(pixels(grey) == support::ramp(99));
    Bytes tripled;
    for (const std::uint8_t v : support::ramp(99)) tripled.insert(tripled.end(), 3, v);
    CHECK(pixels(grey, 3) == tripled);
    const Bytes rgb = make_png({11, 9, PNG_COLOR_TYPE_RGB, 8, interlaced}, support::ramp(297));
    CHECK(pixels(rgb) == support::ramp(297));
    CHECK(pixels(rgb, 3) == support::ramp(297));
  }
}

TEST_CASE("read_png: 1-, 2- and 4-bit grey is widened to the whole range") {
  CHECK(pixels(make_png({4, 1, PNG_COLOR_TYPE_GRAY, 1}, {0b01010000})) == Bytes{0, 255, 0, 255});
  CHECK(pixels(make_png({4, 1, PNG_COLOR_TYPE_GRAY, 2}, {0b00011011})) == Bytes{0, 85, 170, 255});
  CHECK(pixels(make_png({3, 1, PNG_COLOR_TYPE_GRAY, 4}, {0x05, 0xF0})) == Bytes{0, 85, 255});
}

TEST_CASE("read_png: 16 bits become the nearest 8") {
  // 257 * v is exactly v; half a step more rounds up.
  const Bytes file =
      make_png({4, 1, PNG_COLOR_TYPE_GRAY, 16}, {0, 0, 100, 100, 100, 229, 255, 255});
  CHECK(pixels(file) == Bytes{0, 100, 101, 255});
  const Bytes rgb = make_png({1, 1, PNG_COLOR_TYPE_RGB, 16}, {1, 1, 2, 2, 3, 3});
  CHECK(pixels(rgb) == Bytes{1, 2, 3});
}

TEST_CASE("read_png: palettes of every depth are looked up") {
  const std::vector<png_color> palette = {{255, 0, 0}, {0, 255, 0}, {1, 2, 3}, {9, 9, 9}};
  const Bytes expected = {1, 2, 3, 255, 0, 0, 0, 255, 0};
  CHECK(pixels(make_png({3, 1, PNG_COLOR_TYPE_PALETTE, 2, false, palette}, {0b10000100})) ==
        expected);
  CHECK(pixels(make_png({3, 1, PNG_COLOR_TYPE_PALETTE, 4, false, palette}, {0x20, 0x10})) ==
        expected);
  CHECK(pixels(make_png({3, 1, PNG_COLOR_TYPE_PALETTE, 8, false, palette}, {2, 0, 1})) == expected);
}

TEST_CASE("read_png: transparent pixels are blended with white") {
  const Bytes rgba =
      make_png({3, 1, PNG_COLOR_TYPE_RGBA, 8}, {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128});
  // 0 * 128/255 + 255 * 127/255 = 127; 100 and 255 likewise: 177.2 and 255.
  CHECK(pixels(rgba) == Bytes{10, 20, 30, 255, 255, 255, 127, 177, 255});
  CHECK(pixels(make_png({2, 1, PNG_COLOR_TYPE_GA, 8}, {50, 255, 50, 0})) == Bytes{50, 255});
  CHECK(pixels(make_png({1, 1, PNG_COLOR_TYPE_GA, 16}, {50, 50, 0, 0})) == Bytes{255});
  PngSpec palette{2, 1, PNG_COLOR_TYPE_PALETTE, 8, false, {{1, 2, 3}, {4, 5, 6}}, {0}};
  CHECK(pixels(make_png(palette, {0, 1})) == Bytes{255, 255, 255, 4, 5, 6});
  PngSpec key{2, 1, PNG_COLOR_TYPE_GRAY, 8};
  key.transparent_grey = 7;
  CHECK(pixels(make_png(key, {7, 8})) == Bytes{255, 8});
}

TEST_CASE("read_png: colour becomes grey as 0.299 R + 0.587 G + 0.114 B") {
  const Bytes file =
      make_png({4, 1, PNG_COLOR_TYPE_RGB, 8}, {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 30});
  CHECK(pixels(file, 1) == Bytes{76, 150, 29, 124});
  CHECK_REFUSED(pixels(file, 2), ValueError, "channels must be 0, 1 or 3; got 2");
}

TEST_CASE("read_png: a file cut anywhere, or with any wrong byte, is refused") {
  for (std::size_t size = 0; size < small.size(); ++size) {
    CAPTURE(size);
    const Bytes cut(small.begin(), small.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_REFUSED(decode_png(cut, "cut.png"), FormatError, "cut.png: ");
    CHECK_REFUSED(parse_png_info(cut, "cut.png"), FormatError, "cut.png: ");
  }
  for (std::size_t byte = 0; byte < small.size(); ++byte) {
    CAPTURE(byte);
    Bytes wrong = small;
    wrong[byte] ^= 0x04;
    CHECK_REFUSED(decode_png(wrong, "w.png"), FormatError, "w.png: ");
    CHECK_REFUSED(parse_png_info(wrong, "w.png"), FormatError, "w.png: ");
  }
}

TEST_CASE("read_png: wrong files are named and told apart") {
  CHECK_REFUSED(decode_png(support::text_bytes("GIF89a..."), "x.png"), FormatError,
                "x.png: byte 0: expected a PNG signature");
  CHECK_REFUSED(decode_png(support::text_bytes("<!DOCTYPE html>"), "x.png"), FormatError,
                "x.png: this is a web page");
  CHECK_REFUSED(read_png("/no/such.png"), IoError, "/no/such.png: cannot be opened");
}

TEST_CASE("read_png: a picture of more than 64 megapixels is refused before memory is taken") {
  auto parts = chunks(small);
  const auto with_size = [&](std::uint32_t width, std::uint32_t height) {
    Bytes size;
    append_u32(size, width);
    append_u32(size, height);
    std::copy(size.begin(), size.end(), parts[0].second.begin());
    return assemble(parts);
  };
  memory::reset_peak();
  const std::size_t before = memory::usage().peak;
  CHECK_REFUSED(decode_png(with_size(60000, 60000), "x"), FormatError,
                "x: expected at most 67108864 pixels, got 60000 x 60000");
  CHECK_REFUSED(decode_png(with_size(0x7fffffff, 0x7fffffff), "x"), FormatError, "x: ");
  CHECK_REFUSED(decode_png(with_size(0x80000000, 1), "x"), FormatError, "damaged PNG");
  CHECK_REFUSED(decode_png(with_size(0, 1), "x"), FormatError, "damaged PNG");
  CHECK_REFUSED(decode_png(with_size(8192, 8192), "x"), FormatError,
                "bytes cannot hold 8192 x 8192");
  CHECK_REFUSED(decode_png(with_size(2, 3), "x"), FormatError, "damaged PNG");
  CHECK(memory::usage().peak == before);
  CHECK_REFUSED(parse_png_info(with_size(0, 1), "x"), FormatError, "0 x 1 is no size of a picture");
}

TEST_CASE("read_png_info: all kinds of text chunks are read, malformed ones refused") {
  auto parts = chunks(small);
  const auto with = [&](const std::string& type, const std::string& data) {
    auto all = parts;
    all.insert(all.begin() + 1, {type, support::text_bytes(data)});
    return assemble(all);
  };
  const auto packed = [](const Bytes& text) {
    uLongf length = compressBound(text.size());
    std::string out(length, '\0');
    compress(reinterpret_cast<Bytef*>(out.data()), &length, text.data(), text.size());
    out.resize(length);
    return out;
  };
  using namespace std::string_literals;
  const auto text = [](const Bytes& file) { return parse_png_info(file, "x").text; };
  CHECK(text(with("tEXt", "k\0caf\xE9"s)) == PngText{{"k", "café"}});
  CHECK(text(with("zTXt", "k\0\0"s + packed(support::text_bytes("caf\xE9")))) ==
        PngText{{"k", "café"}});
  CHECK(text(with("iTXt", "k\0\0\0de\0Wort\0σ"s)) == PngText{{"k", "σ"}});
  CHECK(text(with("iTXt", "k\0\1\0\0\0"s + packed(support::text_bytes("σ")))) ==
        PngText{{"k", "σ"}});
  for (const auto& [type, data] : {std::pair{"tEXt", "no end"s},
                                   {"zTXt", "k\0"s},
                                   {"zTXt", "k\0\1xx"s},
                                   {"iTXt", "k\0\2\0\0\0"s},
                                   {"iTXt", "k\0\0\0no end"s},
                                   {"zTXt", "k\0\0garbage"s}}) {
    CHECK_REFUSED(text(with(type, data)), FormatError,
                  type == "zTXt"s && data.size() > 5 ? "compressed text chunk is damaged"
                                                     : "chunk is malformed");
  }
  CHECK_REFUSED(text(with("zTXt", "k\0\0"s + packed(Bytes((1 << 20) + 1)))), FormatError,
                "more than 1048576 bytes of compressed text");
  CHECK_REFUSED(text(with("IHDR", "twice")), FormatError, "expected one IHDR chunk");
}

TEST_CASE("describe_file: pictures, with their text") {
  support::TemporaryFolder folder;
  write_png(folder / "p.png", Tensor::full({3, 5, 1}, 7, DType::u8), {{"seed", "42"}});
  CHECK(describe_file(folder / "p.png") ==
        "kind        PNG\nsize        5 x 3\ncolour      grey, 8 bits\n"
        "values      7 to 7, mean 7.000\ntext        seed = 42\n");
  write_apng(folder / "a.png", Tensor::zeros({4, 3, 5, 3}, DType::u8));
  CHECK(describe_file(folder / "a.png").find("frames      4\n") != std::string::npos);
}

TEST_CASE("describe_file: data sets, and what is neither") {
  support::TemporaryFolder folder;
  support::write_bytes(folder / "i", support::idx_file(0x0803, {2, 1, 2}, {0, 10, 20, 30}));
  CHECK(describe_file(folder / "i") ==
        "kind        IDX, unsigned bytes (images)\nshape       [2, 1, 2]\n"
        "values      0 to 30, mean 15.000\n");
  support::write_bytes(folder / "l.gz", support::gzip(support::idx_file(0x0801, {3}, {4, 4, 0})));
  CHECK(describe_file(folder / "l.gz") ==
        "kind        IDX, unsigned bytes (labels)\nshape       [3]\n"
        "label 0     1\nlabel 4     2\n");
  Bytes record(3073, 5);
  support::write_bytes(folder / "batch.bin", record);
  CHECK(describe_file(folder / "batch.bin") ==
        "kind        CIFAR-10 batch\nshape       [1, 32, 32, 3]\n"
        "values      5 to 5, mean 5.000\nlabel 5     1  dog\n");
  support::write_bytes(folder / "other", support::text_bytes("hello"));
  CHECK_REFUSED(describe_file(folder / "other"), FormatError, "its 5 bytes begin with 68 65 6c 6c");
  support::write_bytes(folder / "empty", {});
  CHECK_REFUSED(describe_file(folder / "empty"), FormatError, "its 0 bytes");
  CHECK_REFUSED(describe_file(folder.path()), IoError, "a folder");
}
