#include "tensor/kernels/random.h"

#include "tensor/kernels/random_values.h"
#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

std::uint64_t step_of(const Random::Args& a) {
  return a.step_source == nullptr ? a.step : static_cast<std::uint64_t>(*a.step_source);
}

// T: the type the numbers are made in; Y: the type they are stored in.
template <class T, class Y>
void fill_real(const Random::Args& a) {
  constexpr std::int64_t width = random_width<T>;
  const std::int64_t blocks = ceil_div(a.per_sample, width);
  const std::uint64_t step = step_of(a);
  const bool normal = a.distribution == Distribution::normal;
  parallel_for(a.samples * blocks, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sample = i / blocks, block = i % blocks;
      const auto c =
          random_block(a.key, step, a.draw, a.first_sample + static_cast<std::uint64_t>(sample),
                       static_cast<std::uint64_t>(block));
      T out[width];
      random_values(c, normal, out);
      Y* y = static_cast<Y*>(a.y) + sample * a.per_sample;
      for (int k = 0; k < width && block * width + k < a.per_sample; ++k) {
        y[block * width + k] = static_cast<Y>(out[k]);
      }
    }
  });
}

void fill_integer(const Random::Args& a) {
  const auto range = static_cast<std::uint64_t>(a.high) - static_cast<std::uint64_t>(a.low);
  const std::uint64_t step = step_of(a);
  parallel_for(a.samples * a.per_sample, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sample = i / a.per_sample, element = i % a.per_sample;
      const auto c =
          random_block(a.key, step, a.draw, a.first_sample + static_cast<std::uint64_t>(sample),
                       static_cast<std::uint64_t>(element));
      static_cast<std::int64_t*>(a.y)[i] = random_integer(c, a.low, range);
    }
  });
}

}  // namespace

void Random::cpu(const Args& a) {
  if (a.distribution == Distribution::integer) return fill_integer(a);
  if (a.dtype == DType::bf16) return fill_real<float, bf16>(a);
  with_float(name, a.dtype, [&]<class T>(T) { fill_real<T, T>(a); });
}

}  // namespace ito::kernel
