#include "tensor/kernels/fill.h"

#include <algorithm>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t grain = 1 << 16;

template <class To, class From>
To cast(From x) {
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return cast<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bf16>) {
    return bf16(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace

void Fill::cpu(const Args& a) {
  with_any(a.dtype, [&]<class T>(T) {
    T* y = static_cast<T*>(a.y);
    const T value = cast<T>(a.value);
    parallel_for(a.n, grain, [=](auto begin, auto end) { std::fill(y + begin, y + end, value); });
  });
}

void Cast::cpu(const Args& a) {
  with_any(a.from, [&]<class From>(From) {
    with_any(a.to, [&]<class To>(To) {
      const From* x = static_cast<const From*>(a.x);
      To* y = static_cast<To*>(a.y);
      parallel_for(a.n, grain, [=](auto begin, auto end) {
        for (auto i = begin; i < end; ++i) y[i] = cast<To>(x[i]);
      });
    });
  });
}

}  // namespace ito::kernel
