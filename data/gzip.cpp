// DecodedReader: zlib's inflate with every end condition checked.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>

#include "data/bytes.h"
#include "tensor/error.h"

namespace ito::data {
namespace {

constexpr std::size_t chunk = 1 << 16;

}  // namespace

struct DecodedReader::State {
  explicit State(ByteReader reader) : source(std::move(reader)) {}
  ~State() {
    if (gzip) inflateEnd(&stream);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Reads more of the file once the buffer is used up; false at its end.
  bool refill() {
    if (stream.avail_in > 0) return true;
    const std::size_t got = source.read(buffer);
    stream.next_in = buffer.data();
    stream.avail_in = static_cast<uInt>(got);
    file_offset += got;
    return got > 0;
  }
  std::uint64_t offset() const { return file_offset - stream.avail_in; }

  void begin() {
    refill();
    gzip = stream.avail_in >= 2 && buffer[0] == 0x1f && buffer[1] == 0x8b;
    // 16: a gzip wrapper, whose check value and length inflate() verifies. 15: any window.
    if (gzip && inflateInit2(&stream, 16 + 15) != Z_OK) {
      gzip = false;
      throw std::bad_alloc();
    }
  }

  std::size_t copy(std::span<std::uint8_t> out) {
    const std::size_t buffered = std::min<std::size_t>(out.size(), stream.avail_in);
    std::copy_n(stream.next_in, buffered, out.data());
    stream.next_in += buffered;
    stream.avail_in -= static_cast<uInt>(buffered);
    return buffered + source.read(out.subspan(buffered));
  }

  /// After the end of a member: another member, or the end of the file.
  void next_member() {
    if (!refill()) {
      ended = true;
      return;
    }
    // A magic number split between two buffers is left to inflate() to judge.
    const bool magic =
        stream.next_in[0] == 0x1f && (stream.avail_in < 2 || stream.next_in[1] == 0x8b);
    if (!magic) {
      fail<FormatError>("{}: expected the end of the gzip data at byte {}; got {} more bytes",
                        source.name(), offset(), source.size() - offset());
    }
    inflateReset(&stream);
  }

  std::size_t inflate_into(std::span<std::uint8_t> out) {
    std::size_t done = 0;
    while (done < out.size() && !ended) {
      if (!refill()) {
        fail<FormatError>("{}: the gzip data ends early, at byte {}: truncated file", source.name(),
                          offset());
      }
      const std::size_t room = std::min<std::size_t>(out.size() - done, 1u << 30);
      stream.next_out = out.data() + done;
      stream.avail_out = static_cast<uInt>(room);
      const int status = inflate(&stream, Z_NO_FLUSH);
      done += room - stream.avail_out;
      if (status == Z_STREAM_END) {
        next_member();
      } else if (status == Z_MEM_ERROR) {
        throw std::bad_alloc();
      } else if (status != Z_OK && status != Z_BUF_ERROR) {  // no progress: refill() decides
        fail<FormatError>("{}: damaged gzip data before byte {}: {}", source.name(), offset(),
                          stream.msg ? stream.msg : "not a gzip stream");
      }
    }
    return done;
  }

  ByteReader source;
  z_stream stream{};
  bool gzip = false;
  bool ended = false;
  std::uint64_t file_offset = 0;
  std::array<std::uint8_t, chunk> buffer;
};

DecodedReader::DecodedReader(ByteReader source)
    : state_(std::make_unique<State>(std::move(source))) {
  state_->begin();
}
DecodedReader::~DecodedReader() = default;
DecodedReader::DecodedReader(DecodedReader&&) noexcept = default;
DecodedReader& DecodedReader::operator=(DecodedReader&&) noexcept = default;

std::size_t DecodedReader::read(std::span<std::uint8_t> out) {
  return state_->gzip ? state_->inflate_into(out) : state_->copy(out);
}

bool DecodedReader::compressed() const { return state_->gzip; }
const std::string& DecodedReader::name() const { return state_->source.name(); }

std::uint64_t DecodedReader::size_limit() const {
  const std::uint64_t size = state_->source.size();
  if (!state_->gzip) return size;
  constexpr auto max = std::numeric_limits<std::uint64_t>::max();
  return size > max / largest_expansion ? max : size * largest_expansion;
}

}  // namespace ito::data
