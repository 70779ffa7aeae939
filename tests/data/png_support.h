// PNGs for the tests, written and read by libpng without data/'s code.
#pragma once

#include <png.h>
#include <zlib.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/bytes.h"

namespace support {

using ito::data::Bytes;

struct PngSpec {
  std::uint32_t width, height;
  int colour_type, bit_depth;
  bool interlaced = false;
  std::vector<png_color> palette = {};
  Bytes palette_alpha = {};   ///< tRNS of a palette
  int transparent_grey = -1;  ///< tRNS of a grey image
};

/// Encodes rows of samples as PNG packs them (1, 2, 4 bits: several in a byte; 16: big-endian).
inline Bytes make_png(const PngSpec& spec, Bytes rows) {
  const auto on_error = [](png_structp, png_const_charp text) { throw std::runtime_error(text); };
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, on_error, nullptr);
  png_infop info = png_create_info_struct(png);
  Bytes file;
  png_set_write_fn(
      png, &file,
      [](png_structp p, png_bytep data, std::size_t count) {
        auto& out = *static_cast<Bytes*>(png_get_io_ptr(p));
        out.insert(out.end(), data, data + count);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, spec.width, spec.height, spec.bit_depth, spec.colour_type,
               spec.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
  if (!spec.palette.empty()) {
    png_set_PLTE(png, info, spec.palette.data(), static_cast<int>(spec.palette.size()));
  }
  if (!spec.palette_alpha.empty()) {
    png_set_tRNS(png, info, spec.palette_alpha.data(), static_cast<int>(spec.palette_alpha.size()),
                 nullptr);
  }
  png_color_16 grey{};
  grey.gray = static_cast<png_uint_16>(spec.transparent_grey);
  if (spec.transparent_grey >= 0) png_set_tRNS(png, info, nullptr, 0, &grey);
  png_write_info(png, info);
  const std::size_t length = png_get_rowbytes(png, info);
  std::vector<png_bytep> pointers;
  for (std::uint32_t y = 0; y < spec.height; ++y) pointers.push_back(rows.data() + y * length);
  png_write_image(png, pointers.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return file;
}

struct Decoded {
  std::uint32_t width = 0, height = 0;
  Bytes rgb;
};

/// Decodes with libpng's simplified interface. Throws std::runtime_error.
inline Decoded decode(const Bytes& file) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, file.data(), file.size())) {
    throw std::runtime_error(image.message);
  }
  image.format = PNG_FORMAT_RGB;
  Decoded decoded{image.width, image.height, Bytes(PNG_IMAGE_SIZE(image))};
  if (!png_image_finish_read(&image, nullptr, decoded.rgb.data(), 0, nullptr)) {
    throw std::runtime_error(image.message);
  }
  return decoded;
}

/// A chunk with its length and CRC.
inline Bytes chunk(const std::string& type, const Bytes& data) {
  Bytes typed(type.begin(), type.end());
  typed.insert(typed.end(), data.begin(), data.end());
  Bytes bytes;
  ito::data::append_u32(bytes, static_cast<std::uint32_t>(data.size()));
  bytes.insert(bytes.end(), typed.begin(), typed.end());
  ito::data::append_u32(
      bytes, static_cast<std::uint32_t>(crc32(0, typed.data(), static_cast<uInt>(typed.size()))));
  return bytes;
}

/// The chunks of a file: type and data.
inline std::vector<std::pair<std::string, Bytes>> chunks(const Bytes& file) {
  std::vector<std::pair<std::string, Bytes>> found;
  for (std::size_t at = 8; at + 12 <= file.size();) {
    const std::size_t length = ito::data::load_u32(&file[at]);
    const auto data = file.begin() + static_cast<std::ptrdiff_t>(at + 8);
    found.emplace_back(std::string(data - 4, data),
                       Bytes(data, data + static_cast<std::ptrdiff_t>(length)));
    at += 12 + length;
  }
  return found;
}

inline Bytes assemble(const std::vector<std::pair<std::string, Bytes>>& parts) {
  Bytes file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  for (const auto& [type, data] : parts) {
    const Bytes bytes = chunk(type, data);
    file.insert(file.end(), bytes.begin(), bytes.end());
  }
  return file;
}

}  // namespace support
