#include "tensor/kernels/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

struct Pair {
  double a, b;
};

// Box-Muller: (u1, u2) in (0,1] x [0,1) to two independent normals.
template <class T>
Pair box_muller(T u1, T u2) {
  const T radius = std::sqrt(T(-2) * std::log(u1));
  const T angle = T(2) * std::numbers::pi_v<T> * u2;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

double uniform53(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>(((std::uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}
float uniform24(std::uint32_t x) { return static_cast<float>(x >> 8) * 0x1p-24f; }
float open_uniform32(std::uint32_t x) { return (static_cast<float>(x) + 1.0f) * 0x1p-32f; }

// The four (f32) or two (f64) values of one block.
template <class T>
int values(const PhiloxCounter& c, Distribution distribution, T out[4]) {
  const std::uint32_t w[4] = {c.c0, c.c1, c.c2, c.c3};
  if constexpr (std::is_same_v<T, float>) {
    if (distribution == Distribution::uniform) {
      for (int i = 0; i < 4; ++i) out[i] = uniform24(w[i]);
    } else {
      for (int i = 0; i < 4; i += 2) {
        const Pair p = box_muller<float>(std::min(open_uniform32(w[i]), 1.0f), uniform24(w[i + 1]));
        out[i] = static_cast<float>(p.a);
        out[i + 1] = static_cast<float>(p.b);
      }
    }
    return 4;
  } else {
    const double u1 = uniform53(w[0], w[1]), u2 = uniform53(w[2], w[3]);
    if (distribution == Distribution::uniform) {
      out[0] = u1;
      out[1] = u2;
    } else {
      const Pair p = box_muller<double>(1.0 - u1, u2);
      out[0] = p.a;
      out[1] = p.b;
    }
    return 2;
  }
}

template <class T>
void fill_real(const Random::Args& a) {
  constexpr std::int64_t per_block = std::is_same_v<T, float> ? 4 : 2;
  const std::int64_t blocks = (a.per_sample + per_block - 1) / per_block;
  parallel_for(a.samples * blocks, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sample = i / blocks, block = i % blocks;
      const auto c =
          random_block(a.key, a.step, a.draw, a.first_sample + static_cast<std::uint64_t>(sample),
                       static_cast<std::uint64_t>(block));
      T out[4];
      const int count = values<T>(c, a.distribution, out);
      T* y = static_cast<T*>(a.y) + sample * a.per_sample;
      for (int k = 0; k < count && block * per_block + k < a.per_sample; ++k) {
        y[block * per_block + k] = out[k];
      }
    }
  });
}

// Lemire's multiply-shift on 64 bits: the bias of a range r is below r / 2^64.
void fill_integer(const Random::Args& a) {
  const auto range = static_cast<std::uint64_t>(a.high) - static_cast<std::uint64_t>(a.low);
  parallel_for(a.samples * a.per_sample, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sample = i / a.per_sample, element = i % a.per_sample;
      const auto c =
          random_block(a.key, a.step, a.draw, a.first_sample + static_cast<std::uint64_t>(sample),
                       static_cast<std::uint64_t>(element));
      const std::uint64_t bits = (std::uint64_t{c.c0} << 32) | c.c1;
      __extension__ using u128 = unsigned __int128;
      const auto offset = static_cast<std::uint64_t>((u128{bits} * range) >> 64);
      static_cast<std::int64_t*>(a.y)[i] =
          static_cast<std::int64_t>(static_cast<std::uint64_t>(a.low) + offset);
    }
  });
}

}  // namespace

void Random::cpu(const Args& a) {
  if (a.distribution == Distribution::integer) return fill_integer(a);
  with_float(name, a.dtype, [&]<class T>(T) { fill_real<T>(a); });
}

}  // namespace ito::kernel
