// The parts of PNG that reading and writing share. Internal to data/.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/bytes.h"

namespace ito::data {

inline constexpr std::array<std::uint8_t, 8> png_signature = {0x89, 'P',  'N',  'G',
                                                              '\r', '\n', 0x1A, '\n'};

/// Larger files are refused, in bytes.
inline constexpr std::uint64_t largest_png = std::uint64_t{1} << 30;

/// CRC-32 of a chunk's type and data.
std::uint32_t png_crc(ByteSpan type_and_data);

/// UTF-8 to code points; every byte that is not part of a valid sequence becomes U+FFFD, as does
/// NUL.
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(const std::u32string& text);

}  // namespace ito::data
