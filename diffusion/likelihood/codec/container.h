// The .ito file: a Message of diffusion_codec.h with what a receiver needs to read it, and
// checksums.
//
//   codec::Container sent{.message = codec::send(schedule, model, images), .steps = 50};
//   sent.probe = codec::probe(schedule, model, {1, 28, 28, 1});
//   sent.images_crc = codec::crc32_of(images);
//   data::write_file("photo.ito", sent.bytes());
//
//   const data::Bytes bytes = data::read_file("photo.ito", 1 << 20);
//   const codec::Container file = codec::Container::parse(bytes, "photo.ito");
//   const Tensor same = codec::unpack(file, schedule, model, "photo.ito");
//
// All numbers are unsigned LEB128 (seven bits a byte, the low ones first) unless a size is given:
//   "ITOC", version (1 byte), count, height, width, channels, timesteps visited, last + 1,
//   variance, group, seed, fingerprint of the network (8 bytes), probe (4), CRC-32 of the images
//   (4), the message, CRC-32 of all before it (4). Fixed sizes are big-endian.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "diffusion/likelihood/codec/diffusion_codec.h"

namespace ito::codec {

struct Container {
  Message message;
  std::int64_t steps = 0;         ///< evenly spaced timesteps that were visited
  std::uint64_t fingerprint = 0;  ///< of the network
  std::uint32_t probe = 0;        ///< probe() on the sender's side
  std::uint32_t images_crc = 0;   ///< crc32_of the result

  std::vector<std::uint8_t> bytes() const;
  /// Throws FormatError, beginning with `name`, for anything that bytes() did not write.
  static Container parse(std::span<const std::uint8_t> bytes, const std::string& name);
};

/// Of the elements, as in gzip and PNG.
std::uint32_t crc32_of(const Tensor& images);

/// Throws FormatError, beginning with `name`, unless the file was made with the network that has
/// this fingerprint.
void expect_network(const Container& container, std::uint64_t fingerprint, const std::string& name);

/// The images. `schedule` has container.steps timesteps. Throws FormatError when this machine does
/// not compute what the sender's did, and when the images that come out are not those that were
/// sent (that is known of exact ones only).
Tensor unpack(const Container& container, const NoiseSchedule& schedule, const Denoiser& model,
              const std::string& name, Device device = Device::cpu());

}  // namespace ito::codec
