// PNG and APNG encoder: filtered rows, zlib, chunks.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

#include "data/png.h"
#include "data/png_chunks.h"
#include "tensor/check.h"
#include "tensor/parallel.h"

namespace ito::data {
namespace {

constexpr std::int64_t largest_image = std::int64_t{1}
                                       << 30;  // bytes; a chunk holds less than 2^31

/// A rectangle of a picture.
struct View {
  const std::uint8_t* pixels;
  std::int64_t stride;  // bytes from one row to the next
  std::int64_t width, height, channels;
  std::int64_t row_bytes() const { return width * channels; }
};

void append_chunk(Bytes& file, std::string_view type, ByteSpan data) {
  append_u32(file, static_cast<std::uint32_t>(data.size()));
  const std::size_t start = file.size();
  file.insert(file.end(), type.begin(), type.end());
  file.insert(file.end(), data.begin(), data.end());
  append_u32(file, png_crc(ByteSpan(file).subspan(start)));
}

/// The neighbour (left, above, above left) nearest to left + above - above left.
std::uint8_t paeth(int left, int above, int corner) {
  const int estimate = left + above - corner;
  const int to_left = std::abs(estimate - left), to_above = std::abs(estimate - above);
  const int to_corner = std::abs(estimate - corner);
  if (to_left <= to_above && to_left <= to_corner) return static_cast<std::uint8_t>(left);
  return static_cast<std::uint8_t>(to_above <= to_corner ? above : corner);
}

/// One row as differences from a prediction: 0 none, 1 left, 2 above, 3 their mean, 4 Paeth.
void filter_row(int filter, const std::uint8_t* row, const std::uint8_t* above, const View& view,
                std::uint8_t* out) {
  for (std::int64_t i = 0; i < view.row_bytes(); ++i) {
    const bool edge = i < view.channels;
    const int a = edge ? 0 : row[i - view.channels];
    const int b = above ? above[i] : 0;
    const int c = edge || !above ? 0 : above[i - view.channels];
    const int prediction = filter == 1   ? a
                           : filter == 2 ? b
                           : filter == 3 ? (a + b) / 2
                           : filter == 4 ? paeth(a, b, c)
                                         : 0;
    out[i] = static_cast<std::uint8_t>(row[i] - prediction);
  }
}

/// The rows, each after the number of its filter: the one with the smallest sum of absolute
/// differences, the usual rule of thumb for what deflate likes.
Bytes filter_rows(const View& view) {
  const auto length = static_cast<std::size_t>(view.row_bytes());
  Bytes rows, candidate(length), best(length);
  rows.reserve(static_cast<std::size_t>(view.height) * (length + 1));
  for (std::int64_t y = 0; y < view.height; ++y) {
    const std::uint8_t* row = view.pixels + y * view.stride;
    std::int64_t best_cost = -1;
    int best_filter = 0;
    for (int filter = 0; filter < 5; ++filter) {
      filter_row(filter, row, y > 0 ? row - view.stride : nullptr, view, candidate.data());
      std::int64_t cost = 0;
      for (const std::uint8_t byte : candidate) cost += std::min<int>(byte, 256 - byte);
      if (best_cost < 0 || cost < best_cost) {
        best_cost = cost;
        best_filter = filter;
        best.swap(candidate);
      }
    }
    rows.push_back(static_cast<std::uint8_t>(best_filter));
    rows.insert(rows.end(), best.begin(), best.end());
  }
  return rows;
}

Bytes compress_image(const View& view) {
  const Bytes rows = filter_rows(view);
  uLongf length = compressBound(rows.size());
  Bytes packed(length);
  if (compress2(packed.data(), &length, rows.data(), rows.size(), Z_DEFAULT_COMPRESSION) != Z_OK) {
    throw std::bad_alloc();
  }
  packed.resize(length);
  return packed;
}

void append_header(Bytes& file, const View& view) {
  Bytes data;
  append_u32(data, static_cast<std::uint32_t>(view.width));
  append_u32(data, static_cast<std::uint32_t>(view.height));
  // 8 bits; colour type 0 is grey, 2 RGB; then the only compression and filter methods; not
  // interlaced.
  const std::uint8_t colour_type = view.channels == 1 ? 0 : 2;
  data.insert(data.end(), {8, colour_type, 0, 0, 0});
  file.insert(file.end(), png_signature.begin(), png_signature.end());
  append_chunk(file, "IHDR", data);
}

void check_keyword(const std::string& keyword) {
  const bool printable =
      std::all_of(keyword.begin(), keyword.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (keyword.empty() || keyword.size() > 79 || !printable || keyword.front() == ' ' ||
      keyword.back() == ' ' || keyword.find("  ") != std::string::npos) {
    fail<ValueError>(
        "encode_png: a keyword is 1 to 79 printable ASCII characters without leading, "
        "trailing or doubled spaces; got \"{}\"",
        keyword);
  }
}

void append_text(Bytes& file, const PngText& text) {
  for (const auto& [keyword, value] : text) {
    check_keyword(keyword);
    const std::u32string points = decode_utf8(value);
    const bool latin1 =
        std::all_of(points.begin(), points.end(), [](char32_t p) { return p < 256; });
    Bytes data(keyword.begin(), keyword.end());
    if (latin1) {
      data.push_back(0);
      for (const char32_t p : points) data.push_back(static_cast<std::uint8_t>(p));
    } else {
      // After the keyword: not compressed, method 0, no language, no translated keyword.
      data.insert(data.end(), {0, 0, 0, 0, 0});
      const std::string utf8 = encode_utf8(points);
      data.insert(data.end(), utf8.begin(), utf8.end());
    }
    append_chunk(file, latin1 ? "tEXt" : "iTXt", data);
  }
}

void check_image(const char* op, const char* name, const Tensor& image, int rank) {
  expect_rank(op, name, image, rank);
  expect_dtype(op, name, image, DType::u8);
  const std::int64_t bytes = image.numel();
  if (bytes == 0 || (image.size(-1) != 1 && image.size(-1) != 3) || bytes > largest_image) {
    fail<ShapeError>("{}: {} must have 1 or 3 channels and 1 to 2^30 bytes; got {}", op, name,
                     image.str());
  }
}

View view_of(const std::uint8_t* pixels, const Shape& shape) {
  return {pixels, shape[-2] * shape[-1], shape[-2], shape[-3], shape[-1]};
}

struct Rectangle {
  std::int64_t left = 0, top = 0, width = 1, height = 1;
};

/// The smallest rectangle that holds every pixel in which two pictures differ; one pixel when none
/// does.
Rectangle changed(const View& before, const View& after) {
  std::int64_t left = after.width, right = -1, top = after.height, bottom = -1;
  for (std::int64_t y = 0; y < after.height; ++y) {
    const std::uint8_t* a = before.pixels + y * before.stride;
    const std::uint8_t* b = after.pixels + y * after.stride;
    if (std::equal(a, a + after.row_bytes(), b)) continue;
    top = std::min(top, y);
    bottom = y;
    for (std::int64_t x = 0; x < after.width; ++x) {
      const std::int64_t i = x * after.channels;
      if (std::equal(a + i, a + i + after.channels, b + i)) continue;
      left = std::min(left, x);
      right = std::max(right, x);
    }
  }
  if (right < 0) return {};
  return {left, top, right - left + 1, bottom - top + 1};
}

void append_frame_control(Bytes& file, std::uint32_t sequence, const Rectangle& area,
                          int delay_ms) {
  Bytes data;
  for (const std::int64_t value :
       {std::int64_t{sequence}, area.width, area.height, area.left, area.top}) {
    append_u32(data, static_cast<std::uint32_t>(value));
  }
  append_u32(data, static_cast<std::uint32_t>(delay_ms) << 16 | 1000u);  // delay_ms / 1000 seconds
  data.insert(data.end(), {0, 0});  // leave the picture, then replace the rectangle
  append_chunk(file, "fcTL", data);
}

}  // namespace

Bytes encode_png(const Tensor& image, const PngText& text) {
  check_image("encode_png", "image", image, 3);
  const View view = view_of(image.data<std::uint8_t>(), image.shape());
  Bytes file;
  append_header(file, view);
  append_text(file, text);
  append_chunk(file, "IDAT", compress_image(view));
  append_chunk(file, "IEND", {});
  return file;
}

void write_png(const std::filesystem::path& path, const Tensor& image, const PngText& text) {
  write_file(path, encode_png(image, text));
}

Bytes encode_apng(const Tensor& frames, const Animation& animation, const PngText& text) {
  check_image("encode_apng", "frames", frames, 4);
  const auto [frame_ms, last_frame_ms, loops] = animation;
  if (frame_ms < 1 || frame_ms > 65535 || last_frame_ms < 1 || last_frame_ms > 65535 || loops < 0) {
    fail<ValueError>("encode_apng: times must be from 1 to 65535 ms and loops >= 0; got {}, {}, {}",
                     frame_ms, last_frame_ms, loops);
  }
  const std::int64_t count = frames.size(0), bytes = frames.numel() / count;
  const auto whole = [&](std::int64_t f) {
    return view_of(frames.data<std::uint8_t>() + f * bytes, frames.shape());
  };
  std::vector<Rectangle> areas(static_cast<std::size_t>(count));
  std::vector<Bytes> packed(static_cast<std::size_t>(count));
  parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t f = begin; f < end; ++f) {
      View view = whole(f);
      Rectangle area{0, 0, view.width, view.height};
      if (f > 0) area = changed(whole(f - 1), view);
      view.pixels += area.top * view.stride + area.left * view.channels;
      view.width = area.width;
      view.height = area.height;
      areas[static_cast<std::size_t>(f)] = area;
      packed[static_cast<std::size_t>(f)] = compress_image(view);
    }
  });
  Bytes file, control;
  append_header(file, whole(0));
  append_u32(control, static_cast<std::uint32_t>(count));
  append_u32(control, static_cast<std::uint32_t>(loops));
  append_chunk(file, "acTL", control);
  append_text(file, text);
  std::uint32_t sequence = 0;
  for (std::size_t f = 0; f < packed.size(); ++f) {
    append_frame_control(file, sequence++, areas[f],
                         f + 1 == packed.size() ? last_frame_ms : frame_ms);
    if (f == 0) {
      append_chunk(file, "IDAT", packed[f]);
      continue;
    }
    Bytes data;
    append_u32(data, sequence++);
    data.insert(data.end(), packed[f].begin(), packed[f].end());
    append_chunk(file, "fdAT", data);
  }
  append_chunk(file, "IEND", {});
  return file;
}

void write_apng(const std::filesystem::path& path, const Tensor& frames, const Animation& animation,
                const PngText& text) {
  write_file(path, encode_apng(frames, animation, text));
}

}  // namespace ito::data
