// PNG pictures: writing (also animated, APNG) on zlib, reading on libpng, and the text inside.
//
//   const Tensor grid = data::image_grid(samples, 8);                  // u8[H, W, C]
//   data::write_png("grid.png", grid, {{"seed", "42"}, {"sampler", "ddim, 50 steps"}});
//   data::read_png_info("grid.png").text;                              // the pairs given above
//   const Tensor image = data::read_png("photo.png", 3);               // u8[H, W, 3]
//   data::write_apng("film.png", data::to_bytes(samples));             // the last stays longer
//
// The writer makes 8-bit grey and RGB. Equal pixels give equal files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/bytes.h"
#include "tensor/tensor.h"

namespace ito::data {

/// Pairs of keyword and text, in file order. Keywords: 1 to 79 printable ASCII characters without
/// leading, trailing or doubled spaces. Texts: UTF-8; what is not becomes U+FFFD, and so does NUL.
/// On writing, a text within Latin-1 becomes a tEXt chunk, another one iTXt.
using PngText = std::vector<std::pair<std::string, std::string>>;

/// `image` is u8 [H, W, C], C = 1 or 3, not empty. Throws ShapeError, DTypeError, ValueError
/// (keyword).
Bytes encode_png(const Tensor& image, const PngText& text = {});
/// Also throws IoError. See write_file: the old file or the new one.
void write_png(const std::filesystem::path& path, const Tensor& image, const PngText& text = {});

struct Animation {
  int frame_ms = 80;         ///< milliseconds per frame, 1 to 65535
  int last_frame_ms = 1500;  ///< the same for the last one
  int loops = 0;             ///< times to play; 0 for ever
};

/// `frames` is u8 [F, H, W, C]. Programs that know only PNG show the first frame. Frames after the
/// first store the rectangle that changed. Throws as encode_png, and ValueError for times out of
/// range.
Bytes encode_apng(const Tensor& frames, const Animation& animation = {}, const PngText& text = {});
void write_apng(const std::filesystem::path& path, const Tensor& frames,
                const Animation& animation = {}, const PngText& text = {});

/// Reads any valid PNG as u8 [H, W, channels]: palettes are looked up, 1-, 2- and 4-bit grey is
/// widened, 16 bits become the nearest 8, interlaced images are put together, and transparent
/// pixels are blended with white. Colour becomes grey as 0.299 R + 0.587 G + 0.114 B. Of an APNG
/// the default image is read. `channels` is 1, 3, or 0: 1 for a grey file and 3 for others. Gamma
/// and colour profiles are ignored.
///
/// Throws IoError; FormatError for anything damaged (a wrong CRC anywhere, missing data) and for
/// more than `max_pixels`, before memory for pixels is taken; ValueError for `channels`.
Tensor read_png(const std::filesystem::path& path, int channels = 0);
inline constexpr std::int64_t max_png_pixels = std::int64_t{1}
                                               << 26;  ///< 64 megapixels, 8192 x 8192
/// The same from bytes in memory; `name` stands in for the path.
Tensor decode_png(ByteSpan bytes, const std::string& name, int channels = 0,
                  std::int64_t max_pixels = max_png_pixels);

struct PngInfo {
  std::int64_t width = 0, height = 0;
  int bit_depth = 0, colour_type = 0;  ///< as in the IHDR chunk
  bool interlaced = false;
  std::int64_t frames = 1;  ///< more than 1 in an APNG
  PngText text;             ///< tEXt, zTXt and iTXt chunks, as UTF-8

  std::string colour() const;  ///< "grey", "RGB", "palette", "grey + alpha" or "RGB + alpha"
};

/// What the chunks say, without decoding pixels. Throws IoError; FormatError for a file that is no
/// sequence of PNG chunks with correct CRCs from IHDR to IEND, or has over 1 MiB of compressed
/// text.
PngInfo read_png_info(const std::filesystem::path& path);
PngInfo parse_png_info(ByteSpan bytes, const std::string& name);

struct GridOptions {
  std::int64_t padding = 2;  ///< pixels between images and around them
  int background = 255;      ///< 0 (black) to 255 (white)
};

/// Height and width in pixels of image_grid's result for n images.
std::pair<std::int64_t, std::int64_t> grid_size(std::int64_t n, std::int64_t height,
                                                std::int64_t width, std::int64_t columns = 0,
                                                const GridOptions& options = {});

/// Images side by side, in rows of `columns` (0: the grid nearest to a square), as u8 [H, W, C].
/// `images` is u8 or f32 in [-1, 1], [N, H, W, C], C = 1 or 3, N >= 1, on any device.
/// Throws ShapeError, DTypeError, ValueError.
Tensor image_grid(const Tensor& images, std::int64_t columns = 0, const GridOptions& options = {});

/// Each pixel as a block of factor x factor pixels; u8 [H, W, C] or [N, H, W, C]. Throws
/// ValueError.
Tensor upscale(const Tensor& images, std::int64_t factor);

}  // namespace ito::data
