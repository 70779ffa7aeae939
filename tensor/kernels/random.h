// Contract: fill a tensor [samples, per_sample] with random numbers. Element e of sample s takes
// word e % 4 of the Philox block (e / 4, s, step, draw) in f32; f64 takes two words of block e / 2,
// and an integer two words of block e. Every device gives the same bits (random_values.h).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"
#include "tensor/philox.h"

namespace ito::kernel {

enum class Distribution : std::uint8_t { normal, uniform, integer };

struct Random {
  static constexpr const char* name = "random";
  struct Args {
    void* y;
    std::int64_t samples, per_sample;
    PhiloxKey key;
    std::uint64_t step, first_sample;
    std::uint32_t draw;
    Distribution distribution;
    std::int64_t low, high;  // integer: [low, high)
    DType dtype;             // f32, f64, bf16 (normal, uniform; bf16: f32 rounded); i64 (integer)
    const std::int64_t* step_source = nullptr;  // where the step is read, instead of `step`
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(a.samples * a.per_sample, a.dtype)}; }
};

/// The block of element group `e4` of sample `s`. The step keeps 40 bits, the draw 24.
ITO_HOST_DEVICE inline PhiloxCounter random_block(PhiloxKey key, std::uint64_t step,
                                                  std::uint32_t draw, std::uint64_t sample,
                                                  std::uint64_t e4) {
  return philox4x32({static_cast<std::uint32_t>(e4), static_cast<std::uint32_t>(sample),
                     static_cast<std::uint32_t>(step),
                     static_cast<std::uint32_t>((step >> 32) << 24) | (draw & 0xffffffu)},
                    key);
}

}  // namespace ito::kernel
