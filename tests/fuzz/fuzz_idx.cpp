// The IDX reader, for plain and gzip files.
#include <zlib.h>

#include <algorithm>
#include <vector>

#include "data/idx.h"
#include "tests/fuzz/fuzz.h"

namespace {

using ito::data::Bytes, ito::data::ByteSpan;

/// A gzip file with this content.
Bytes gzip(ByteSpan content) {
  z_stream stream{};
  deflateInit2(&stream, 1, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, content.size()) + 32);
  stream.next_in = const_cast<Bytef*>(content.data());
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  for (const int rank : {1, 3}) {
    succeeds([&] { data::parse_idx(input, "input", rank); });
  }
  Tensor tensor;
  const bool accepted = succeeds([&] { tensor = data::parse_idx(input, "input"); });
  const bool compressed = input.size() >= 2 && input[0] == 0x1f && input[1] == 0x8b;
  if (compressed) return accepted;
  // The same content inside gzip must have the same outcome.
  Tensor unpacked;
  expect(succeeds([&] { unpacked = data::parse_idx(gzip(input), "gzip"); }) == accepted,
         "plain and gzip files are accepted alike");
  if (accepted) {
    expect(static_cast<std::size_t>(tensor.numel()) + 4 * static_cast<std::size_t>(tensor.rank()) +
                   4 ==
               input.size(),
           "the tensor has every byte of the file");
    expect(unpacked.shape() == tensor.shape() &&
               unpacked.to_vector<std::uint8_t>() == tensor.to_vector<std::uint8_t>(),
           "plain and gzip files hold the same tensor");
  }
  return accepted;
}

#if ITO_FUZZER
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Mutates and, half of the time, makes the check values of a gzip file right again, without which
/// few mutations would get past them.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 2 == 0 || size < 18 || data[0] != 0x1f || data[1] != 0x8b || data[3] != 0) return size;
  Bytes content(1 << 16);
  z_stream stream{};
  inflateInit2(&stream, -15);
  stream.next_in = data + 10;
  stream.avail_in = static_cast<uInt>(size - 10);
  stream.next_out = content.data();
  stream.avail_out = static_cast<uInt>(content.size());
  const bool whole = inflate(&stream, Z_FINISH) == Z_STREAM_END;
  const std::size_t trailer = 10 + stream.total_in, length = stream.total_out;
  inflateEnd(&stream);
  if (!whole || trailer + 8 > size) return size;
  const auto crc = static_cast<std::uint32_t>(crc32(0, content.data(), static_cast<uInt>(length)));
  for (std::size_t i = 0; i < 4; ++i) {
    data[trailer + i] = static_cast<std::uint8_t>(crc >> 8 * i);
    data[trailer + 4 + i] = static_cast<std::uint8_t>(length >> 8 * i);
  }
  return size;
}
#endif
