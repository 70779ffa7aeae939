// Walks the chunks of a PNG and reads those with text, with checks of its own: nothing is decoded
// here.
#include <zlib.h>

#include <algorithm>
#include <optional>

#include "data/png.h"
#include "data/png_chunks.h"
#include "tensor/error.h"

namespace ito::data {
namespace {

constexpr std::size_t max_inflated_text = 1 << 20;

std::string from_latin1(ByteSpan bytes) {
  return encode_utf8(std::u32string(bytes.begin(), bytes.end()));
}

std::string from_utf8(ByteSpan bytes) {
  return encode_utf8(decode_utf8({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
}

/// The bytes before the next NUL; `rest` then begins after it. Nothing when there is no NUL.
std::optional<ByteSpan> take_field(ByteSpan& rest) {
  const auto end = std::find(rest.begin(), rest.end(), std::uint8_t{0});
  if (end == rest.end()) return std::nullopt;
  const auto length = static_cast<std::size_t>(end - rest.begin());
  const ByteSpan field = rest.first(length);
  rest = rest.subspan(length + 1);
  return field;
}

struct TextReader {
  const std::string& name;
  std::size_t budget = max_inflated_text;

  Bytes inflate_text(ByteSpan packed) {
    Bytes text(std::min<std::size_t>(budget + 1, packed.size() * 1032 + 64));
    uLongf length = static_cast<uLongf>(text.size());
    const int status = uncompress(text.data(), &length, packed.data(), packed.size());
    if (status == Z_BUF_ERROR && length > budget) {
      fail<FormatError>("{}: more than {} bytes of compressed text", name, max_inflated_text);
    }
    if (status != Z_OK) fail<FormatError>("{}: a compressed text chunk is damaged", name);
    text.resize(length);
    if (text.size() > budget) {
      fail<FormatError>("{}: more than {} bytes of compressed text", name, max_inflated_text);
    }
    budget -= text.size();
    return text;
  }

  void read(std::string_view type, ByteSpan rest, PngText& text) {
    const auto keyword = take_field(rest);
    bool valid = keyword.has_value();
    if (valid && type == "tEXt") {
      text.emplace_back(from_latin1(*keyword), from_latin1(rest));
    } else if (valid && type == "zTXt") {
      valid = !rest.empty() && rest[0] == 0;  // the only compression method
      if (valid)
        text.emplace_back(from_latin1(*keyword), from_latin1(inflate_text(rest.subspan(1))));
    } else if (valid) {  // iTXt
      valid = rest.size() >= 2 && rest[0] <= 1 && rest[1] == 0;
      const bool packed = valid && rest[0] == 1;
      if (valid) rest = rest.subspan(2);
      valid = valid && take_field(rest) && take_field(rest);  // language, translated keyword
      if (valid) {
        text.emplace_back(from_latin1(*keyword),
                          packed ? from_utf8(inflate_text(rest)) : from_utf8(rest));
      }
    }
    if (!valid) fail<FormatError>("{}: a {} chunk is malformed", name, type);
  }
};

void read_header(ByteSpan data, const std::string& name, PngInfo& info) {
  if (data.size() != 13) {
    fail<FormatError>("{}: byte 8: expected an IHDR chunk of 13 bytes, got {}", name, data.size());
  }
  info.width = load_u32(&data[0]);
  info.height = load_u32(&data[4]);
  info.bit_depth = data[8];
  info.colour_type = data[9];
  info.interlaced = data[12] != 0;
  if (info.width < 1 || info.height < 1 || info.width > INT32_MAX || info.height > INT32_MAX) {
    fail<FormatError>("{}: byte 16: {} x {} is no size of a picture", name, info.width,
                      info.height);
  }
}

}  // namespace

std::uint32_t png_crc(ByteSpan type_and_data) {
  return static_cast<std::uint32_t>(
      crc32_z(crc32_z(0, nullptr, 0), type_and_data.data(), type_and_data.size()));
}

std::string PngInfo::colour() const {
  switch (colour_type) {
    case 0:
      return "grey";
    case 2:
      return "RGB";
    case 3:
      return "palette";
    case 4:
      return "grey + alpha";
    case 6:
      return "RGB + alpha";
    default:
      return fmt::format("colour type {}", colour_type);
  }
}

PngInfo parse_png_info(ByteSpan bytes, const std::string& name) {
  refuse_web_page(bytes, name);
  if (!std::equal(png_signature.begin(), png_signature.end(), bytes.begin(),
                  bytes.begin() +
                      static_cast<std::ptrdiff_t>(std::min(bytes.size(), png_signature.size())))) {
    fail<FormatError>("{}: byte 0: expected a PNG signature", name);
  }
  PngInfo info;
  TextReader text{name};
  std::size_t at = png_signature.size();
  for (bool first = true;; first = false) {
    if (bytes.size() - at < 12) {
      fail<FormatError>("{}: byte {}: the file ends before its IEND chunk: truncated", name, at);
    }
    const std::size_t length = load_u32(&bytes[at]);
    if (length > bytes.size() - at - 12) {
      fail<FormatError>("{}: byte {}: expected a chunk of {} bytes, got {}: truncated", name, at,
                        length, bytes.size() - at - 12);
    }
    const ByteSpan typed = bytes.subspan(at + 4, length + 4), data = typed.subspan(4);
    const std::string_view type(reinterpret_cast<const char*>(typed.data()), 4);
    if (first != (type == "IHDR")) {
      fail<FormatError>("{}: byte {}: expected one IHDR chunk, at the start", name, at);
    }
    if (png_crc(typed) != load_u32(&bytes[at + 8 + length])) {
      fail<FormatError>("{}: byte {}: the chunk has a wrong CRC: damaged", name, at);
    }
    if (first) read_header(data, name, info);
    if (type == "acTL" && length == 8) info.frames = std::max(load_u32(&data[0]), 1u);
    if (type == "tEXt" || type == "zTXt" || type == "iTXt") text.read(type, data, info.text);
    if (type == "IEND") return info;
    at += 12 + length;
  }
}

PngInfo read_png_info(const std::filesystem::path& path) {
  return parse_png_info(read_file(path, largest_png), path.string());
}

std::u32string decode_utf8(std::string_view text) {
  std::u32string points;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<std::uint8_t>(text[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    char32_t point = length == 1 ? lead : lead & (0x7Fu >> length);
    bool valid = length > 0 && i + length <= text.size() && lead != 0;
    for (std::size_t k = 1; valid && k < length; ++k) {
      const auto next = static_cast<std::uint8_t>(text[i + k]);
      valid = (next & 0xC0) == 0x80;
      point = point << 6 | (next & 0x3Fu);
    }
    // Longer than needed, a surrogate, or beyond Unicode.
    valid = valid && !(length == 3 && point < 0x800) && !(length == 4 && point < 0x10000) &&
            !(point >= 0xD800 && point < 0xE000) && point < 0x110000;
    points += valid ? point : U'\uFFFD';
    i += valid ? length : 1;
  }
  return points;
}

std::string encode_utf8(const std::u32string& text) {
  std::string bytes;
  const auto put = [&](char32_t value) { bytes += static_cast<char>(value); };
  for (const char32_t point : text) {
    if (point < 0x80) {
      put(point);
    } else if (point < 0x800) {
      put(0xC0 | point >> 6);
      put(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
      put(0xE0 | point >> 12);
      put(0x80 | (point >> 6 & 0x3F));
      put(0x80 | (point & 0x3F));
    } else {
      put(0xF0 | point >> 18);
      put(0x80 | (point >> 12 & 0x3F));
      put(0x80 | (point >> 6 & 0x3F));
      put(0x80 | (point & 0x3F));
    }
  }
  return bytes;
}

}  // namespace ito::data
