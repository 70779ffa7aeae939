// The PNG decoder and the reader of PNG chunks.
#include <zlib.h>

#include <string_view>

#include "data/png.h"
#include "tests/fuzz/fuzz.h"

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  constexpr std::int64_t max_pixels = 1 << 16;  // for speed
  Tensor image;
  data::PngInfo info;
  const bool decoded = succeeds([&] { image = data::decode_png(input, "input", 0, max_pixels); });
  bool parsed = true;
  try {
    info = data::parse_png_info(input, "input");
  } catch (const FormatError& error) {
    parsed = false;
    // The decoder skips text; in everything else it must be as strict.
    const bool about_text = std::string_view(error.what()).find("text") != std::string::npos ||
                            std::string_view(error.what()).find("malformed") != std::string::npos;
    expect(!decoded || about_text, "a file with damaged chunks is not decoded");
  }
  if (decoded) {
    expect(image.numel() <= 3 * max_pixels, "the limit of pixels holds");
    const Tensor again = data::decode_png(data::encode_png(image), "again");
    expect(again.shape() == image.shape() &&
               again.to_vector<std::uint8_t>() == image.to_vector<std::uint8_t>(),
           "what was read can be written and read again");
  }
  if (parsed) {
    data::PngText text;  // with keywords that the writer takes
    for (const auto& [keyword, value] : info.text) text.emplace_back("key", value);
    const data::Bytes file = data::encode_png(Tensor::zeros({1, 1, 1}, DType::u8), text);
    for (auto& [keyword, value] : text) {
      for (std::size_t nul; (nul = value.find('\0')) != std::string::npos;) {
        value.replace(nul, 1, "\uFFFD");
      }
    }
    expect(data::parse_png_info(file, "again").text == text, "texts read can be written and read");
  }
  if (decoded && parsed) {
    expect(image.size(0) == info.height && image.size(1) == info.width, "both see the same size");
  }
  return decoded && parsed;
}

#if ITO_FUZZER
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Mutates and, most of the time, makes the CRCs right again, without which few mutations would get
/// past them.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 == 0) return size;
  for (std::size_t at = 8; at + 12 <= size;) {
    const std::size_t length = ito::data::load_u32(data + at);
    if (length > size - at - 12) break;
    const auto crc = crc32(0, data + at + 4, static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i) {
      data[at + 8 + length + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    }
    at += 12 + length;
  }
  return size;
}
#endif
