// The .ito reader, and the decoder behind it: any message must decode to images or be refused.
#include <zlib.h>

#include <algorithm>

#include "autograd/ops/elementwise.h"
#include "diffusion/likelihood/codec/container.h"
#include "tests/fuzz/fuzz.h"

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  codec::Container file;
  if (!succeeds([&] { file = codec::Container::parse(input, "input"); })) return false;
  const auto again = file.bytes();
  expect(std::equal(again.begin(), again.end(), input.begin(), input.end()),
         "a file that is accepted is one that would be written");
  // Small ones are decoded with a network that sees nothing.
  if (file.message.shape.numel() > 512 || file.steps > 20) return true;
  const NoiseSchedule schedule = NoiseSchedule::linear(file.steps);
  const Denoiser blind = [](const Tensor& x, const Levels&) { return Denoised{x * 0.0, x, {}}; };
  try {
    const Tensor images = codec::receive(schedule, blind, file.message);
    expect(images.shape() == file.message.shape, "the images have the shape of the head");
  } catch (const FormatError&) {
  } catch (const ValueError&) {  // settings that a file may hold and this network cannot serve
  }
  return true;
}

#if ITO_FUZZER
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Mutates and, most of the time, makes the checksum at the end right again, without which few
/// mutations would get past it.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 == 0 || size < 9) return size;
  const std::size_t body = size - 4;
  const auto crc = static_cast<std::uint32_t>(crc32(0, data, static_cast<uInt>(body)));
  for (std::size_t i = 0; i < 4; ++i)
    data[body + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
  return size;
}
#endif
