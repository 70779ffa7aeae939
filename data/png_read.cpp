// read_png: libpng for decoding, with limits set before it may allocate.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

#include "data/png.h"
#include "data/png_chunks.h"
#include "tensor/error.h"

namespace ito::data {
namespace {

/// libpng reports errors by longjmp to the last setjmp. The two functions that call setjmp
/// therefore own nothing that has a destructor; all memory is held here.
class Decoder {
 public:
  explicit Decoder(ByteSpan bytes) : rest_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &on_error, &on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png_, this, &on_read);
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Reads up to the first pixels. False: see error().
  bool read_header() {
    if (setjmp(png_jmpbuf(png_))) return false;
    // The caller checks the size, in 64 bits, before anything grows with it.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png_, 1 << 20);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    // Text, colour profiles and the like are skipped, not parsed; only transparency matters.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    grey_ = (png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) == 0;
    stored_row_bytes_ = png_get_rowbytes(png_, info_);
    return true;
  }

  /// Fills `rgba`, 4 * width * height bytes. False: see error().
  bool read_pixels(std::uint8_t* rgba) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_expand(png_);
    png_set_scale_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_add_alpha(png_, 0xff, PNG_FILLER_AFTER);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    const std::size_t row = 4 * static_cast<std::size_t>(width());
    if (png_get_rowbytes(png_, info_) != row) png_error(png_, "rows of an unexpected length");
    for (int pass = 0; pass < passes; ++pass) {
      for (std::int64_t y = 0; y < height(); ++y) {
        png_read_row(png_, rgba + static_cast<std::size_t>(y) * row, nullptr);
      }
    }
    png_read_end(png_, nullptr);
    return true;
  }

  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  bool grey() const { return grey_; }
  std::uint64_t stored_row_bytes() const { return stored_row_bytes_; }
  const char* error() const { return error_; }

 private:
  static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<Decoder*>(png_get_error_ptr(png));
    std::snprintf(self->error_, sizeof self->error_, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep out, std::size_t count) {
    auto* self = static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(out, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  ByteSpan rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  bool grey_ = false;
  std::uint64_t stored_row_bytes_ = 0;
  char error_[160] = "";
};

/// a over white, to the nearest byte.
int over_white(int value, int alpha) { return (value * alpha + 255 * (255 - alpha) + 127) / 255; }

void convert(const Bytes& rgba, int channels, std::uint8_t* out) {
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    const int alpha = rgba[i + 3];
    const int r = over_white(rgba[i], alpha), g = over_white(rgba[i + 1], alpha),
              b = over_white(rgba[i + 2], alpha);
    if (channels == 1) {
      *out++ = static_cast<std::uint8_t>((299 * r + 587 * g + 114 * b + 500) / 1000);
    } else {
      *out++ = static_cast<std::uint8_t>(r);
      *out++ = static_cast<std::uint8_t>(g);
      *out++ = static_cast<std::uint8_t>(b);
    }
  }
}

}  // namespace

Tensor decode_png(ByteSpan bytes, const std::string& name, int channels, std::int64_t max_pixels) {
  if (channels != 0 && channels != 1 && channels != 3) {
    fail<ValueError>("read_png: channels must be 0, 1 or 3; got {}", channels);
  }
  refuse_web_page(bytes, name);
  if (bytes.size() < png_signature.size() ||
      !std::equal(png_signature.begin(), png_signature.end(), bytes.begin())) {
    fail<FormatError>("{}: byte 0: expected a PNG signature", name);
  }
  Decoder decoder(bytes);
  if (!decoder.read_header()) fail<FormatError>("{}: damaged PNG: {}", name, decoder.error());
  const std::int64_t width = decoder.width(), height = decoder.height();
  if (width > max_pixels / height) {
    fail<FormatError>("{}: expected at most {} pixels, got {} x {}", name, max_pixels, width,
                      height);
  }
  if (decoder.stored_row_bytes() * static_cast<std::uint64_t>(height) >
      largest_expansion * bytes.size()) {
    fail<FormatError>("{}: a file of {} bytes cannot hold {} x {} pixels", name, bytes.size(),
                      width, height);
  }
  Bytes rgba(static_cast<std::size_t>(4 * width * height));
  if (!decoder.read_pixels(rgba.data())) {
    fail<FormatError>("{}: damaged PNG: {}", name, decoder.error());
  }
  if (channels == 0) channels = decoder.grey() ? 1 : 3;
  Tensor image = Tensor::empty({height, width, channels}, DType::u8);
  convert(rgba, channels, image.mutable_data<std::uint8_t>());
  return image;
}

Tensor read_png(const std::filesystem::path& path, int channels) {
  return decode_png(read_file(path, largest_png), path.string(), channels);
}

}  // namespace ito::data
