// Group normalisation on the CPU (Wu & He 2018, arXiv 1803.08494), with silu behind it.
//
// A task is a slab: some channels of one image. Forward goes over it twice, for the statistics and
// to write y; backward twice, for the sums and to write dx. A slab fits the level-2 cache, so
// memory sees each array once: 2 arrays forward, 3 backward. Where silu is not asked for, that
// traffic is the cost; with it, the exponential is: about 17 operations per vector forward and 24
// backward.
//
// A slab is walked in blocks of positions, and a block one vector of channels at a time, so that
// the channel's mean, scale and sums stay in registers while the positions go by. The size of a
// group does not matter to the inner loops. What comes from memory is asked for one block ahead,
// because processors foresee a walk by rows, not this one.
#include "tensor/kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "tensor/kernels/index.h"
#include "tensor/kernels/scratch.h"
#include "tensor/kernels/simd.h"
#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

// Positions of a block; sums over a block are taken in T and added to f64, so that f32 keeps its
// precision whatever the size of the image.
constexpr Index block = 32;

/// Channels [first, end) of an image: whole groups.
struct Slab {
  Index image, first, end;
};

/// f(slab) for all slabs, on all threads. Where images are many, one is a task; where they are few,
/// as in sampling, its channels are shared out, two cache lines or more at a time. No sum has parts
/// in two slabs.
template <class T, class F>
void for_slabs(const GroupNormShape& s, F f) {
  constexpr Index many = 8, narrowest = 128 / sizeof(T);
  const Index unit = std::lcm(s.channels / s.groups, narrowest);
  const Index width = s.n >= many ? s.channels : std::min(unit, s.channels);
  const Index slabs = ceil_div(s.channels, width);
  parallel_for(s.n * slabs, 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = i % slabs * width;
      f(Slab{i / slabs, first, std::min(first + width, s.channels)});
    }
  });
}

/// f(first position, positions, first channel, channels) for every block of a slab. The channels
/// are those of one vector or less, and of one array; where they fill the vector, their number is a
/// constant of the type.
template <class T, class F>
ITO_INLINE void for_blocks(const GroupNormShape& s, const Slab& slab, F f) {
  constexpr Index lanes = simd::lanes<T>;
  const Index border = s.channels - s.x2_channels;
  for (Index i = 0; i < s.positions; i += block) {
    const Index rows = std::min(block, s.positions - i);
    for (Index j = slab.first, count; j < slab.end; j += count) {
      count = std::min(lanes, (j < border ? std::min(border, slab.end) : slab.end) - j);
      if (count == lanes) {
        f(i, rows, j, std::integral_constant<Index, lanes>{});
      } else {
        f(i, rows, j, count);
      }
    }
  }
}

/// A channel of an image: position p is at[p step].
template <class T>
struct Channel {
  T* at;
  Index step;
};

/// One image whose channels stand in one array, or in two, one behind the other.
template <class T>
class Image {
 public:
  Image(T* x, T* x2, const GroupNormShape& s, Index n)
      : border_(s.channels - s.x2_channels),
        second_(s.x2_channels),
        x_(x + n * s.positions * border_),
        x2_(x2 == nullptr ? nullptr : x2 + n * s.positions * second_) {}

  Channel<T> operator[](Index j) const {
    return j < border_ ? Channel<T>{x_ + j, border_} : Channel<T>{x2_ + (j - border_), second_};
  }

 private:
  Index border_, second_;
  T *x_, *x2_;
};

template <class T, class Count>
ITO_INLINE void add_to(double* total, const simd::vector_of<T>& sum, Count count) {
  T elements[simd::lanes<T>];
  simd::store(elements, sum);
  for (Index l = 0; l < count; ++l) total[l] += static_cast<double>(elements[l]);
}

/// Per channel: sum and sum of squares of x - x[0]. Relative to the first position, a large mean
/// does not cancel the variance.
template <class T>
void channel_sums(const Image<const T>& image, const GroupNormShape& s, const Slab& slab,
                  double* sum, double* squares) {
  using V = simd::vector_of<T>;
  std::fill(sum + slab.first, sum + slab.end, 0.0);
  std::fill(squares + slab.first, squares + slab.end, 0.0);
  for_blocks<T>(s, slab, [&](Index i, Index rows, Index j, auto count) {
    const Channel<const T> x = image[j];
    const T* at = x.at + i * x.step;
    V origin, even{}, even2{}, odd{}, odd2{};  // two positions at a time: shorter chains of sums
    simd::load(origin, x.at, count);
    const auto add = [&](V& total, V& total2) {
      V d;
      simd::load(d, at, count);
      __builtin_prefetch(at + block * x.step);
      at += x.step;
      d -= origin;
      total += d;
      total2 += d * d;
    };
    for (Index r = 0; r + 1 < rows; r += 2) {
      add(even, even2);
      add(odd, odd2);
    }
    if (rows % 2 == 1) add(even, even2);
    add_to<T>(sum + j, even + odd, count);
    add_to<T>(squares + j, even2 + odd2, count);
  });
}

/// Mean and 1 / sqrt(variance + eps) of every group of a slab.
template <class T>
void group_statistics(const Image<const T>& x, const GroupNormShape& s, const Slab& slab,
                      double eps, T* statistics) {
  Scratch<double> sums(2 * s.channels);
  double *sum = sums.data(), *squares = sum + s.channels;
  channel_sums(x, s, slab, sum, squares);
  const Index width = s.channels / s.groups;
  const double count = static_cast<double>(s.positions), m = count * static_cast<double>(width);
  for (Index g = slab.first / width; g < slab.end / width; ++g) {
    double mean = 0.0, total = 0.0;
    for (Index j = g * width; j < (g + 1) * width; ++j) {
      mean += count * static_cast<double>(*x[j].at) + sum[j];
    }
    mean /= m;
    for (Index j = g * width; j < (g + 1) * width; ++j) {
      // The channel's squares around its own mean, moved to the group's mean.
      const double away = static_cast<double>(*x[j].at) + sum[j] / count - mean;
      total += squares[j] - sum[j] * sum[j] / count + count * away * away;
    }
    statistics[2 * g] = static_cast<T>(mean);
    statistics[2 * g + 1] = static_cast<T>(1.0 / std::sqrt(std::max(total, 0.0) / m + eps));
  }
}

/// The group's mean and rstd for every channel.
template <class T>
void spread(const T* statistics, const GroupNormShape& s, const Slab& slab, T* mean, T* rstd) {
  const Index width = s.channels / s.groups;
  for (Index j = slab.first; j < slab.end; ++j) {
    mean[j] = statistics[2 * (j / width)];
    rstd[j] = statistics[2 * (j / width) + 1];
  }
}

template <class T, bool silu>
void normalize(const GroupNorm::Args& a, const Slab& slab) {
  using V = simd::vector_of<T>;
  const GroupNormShape& s = a.shape;
  const Index c = s.channels, n = slab.image;
  const T* gamma = static_cast<const T*>(a.weight);
  const T* beta = static_cast<const T*>(a.bias);
  const Image<const T> image(static_cast<const T*>(a.x), static_cast<const T*>(a.x2), s, n);
  T* y = static_cast<T*>(a.y) + n * s.positions * c;
  T* statistics = static_cast<T*>(a.statistics) + 2 * n * s.groups;
  Scratch<T> scratch(2 * c);
  T *mean = scratch.data(), *scale = mean + c;
  group_statistics(image, s, slab, a.eps, statistics);
  spread(statistics, s, slab, mean, scale);
  for (Index j = slab.first; j < slab.end; ++j) scale[j] *= gamma[j];
  for_blocks<T>(s, slab, [&](Index i, Index rows, Index j, auto count) {
    const Channel<const T> x = image[j];
    V m, slope, shift;
    simd::load(m, mean + j, count);
    simd::load(slope, scale + j, count);
    simd::load(shift, beta + j, count);
    for (Index p = i; p < i + rows; ++p) {
      V z;
      simd::load(z, x.at + p * x.step, count);
      __builtin_prefetch(y + (p + block) * c + j, 1);
      z = (z - m) * slope + shift;
      if constexpr (silu) z *= simd::sigmoid(z);
      simd::store(y + p * c + j, z, count);
    }
  });
}

/// One image's arrays.
template <class T>
struct Gradient {
  Image<const T> x;
  Image<T> dx;
  const T *dy, *gamma, *beta;
};

/// Per channel: sums of dz and dz xh. With silu, dz is left in dx.
template <class T, bool silu>
void gradient_sums(const Gradient<T>& g, const GroupNormShape& s, const Slab& slab, const T* mean,
                   const T* rstd, double* sum, double* sum_xh) {
  using V = simd::vector_of<T>;
  std::fill(sum + slab.first, sum + slab.end, 0.0);
  std::fill(sum_xh + slab.first, sum_xh + slab.end, 0.0);
  for_blocks<T>(s, slab, [&](Index i, Index rows, Index j, auto count) {
    const Channel<const T> x = g.x[j];
    const Channel<T> dx = g.dx[j];
    V m, scale, slope, shift, total{}, total_xh{};
    simd::load(m, mean + j, count);
    simd::load(scale, rstd + j, count);
    simd::load(slope, g.gamma + j, count);
    simd::load(shift, g.beta + j, count);
    for (Index p = i; p < i + rows; ++p) {
      V xh, dz;
      simd::load(xh, x.at + p * x.step, count);
      simd::load(dz, g.dy + p * s.channels + j, count);
      __builtin_prefetch(x.at + (p + block) * x.step);
      __builtin_prefetch(g.dy + (p + block) * s.channels + j);
      xh = (xh - m) * scale;
      if constexpr (silu) {
        const V z = xh * slope + shift, sigma = simd::sigmoid(z);
        dz *= sigma * (1 + z * (1 - sigma));
        simd::store(dx.at + p * dx.step, dz, count);
        __builtin_prefetch(dx.at + (p + block) * dx.step, 1);
      }
      total += dz;
      total_xh += dz * xh;
    }
    add_to<T>(sum + j, total, count);
    add_to<T>(sum_xh + j, total_xh, count);
  });
}

/// dx = scale dz - shift - (x - mean) slope
template <class T, bool silu>
void gradient_apply(const Gradient<T>& g, const GroupNormShape& s, const Slab& slab, const T* mean,
                    const T* scale, const T* shift, const T* slope) {
  using V = simd::vector_of<T>;
  for_blocks<T>(s, slab, [&](Index i, Index rows, Index j, auto count) {
    const Channel<const T> x = g.x[j];
    const Channel<T> dx = g.dx[j];
    const Channel<const T> dz =
        silu ? Channel<const T>{dx.at, dx.step} : Channel<const T>{g.dy + j, s.channels};
    V m, a, b, c;
    simd::load(m, mean + j, count);
    simd::load(a, scale + j, count);
    simd::load(b, shift + j, count);
    simd::load(c, slope + j, count);
    for (Index p = i; p < i + rows; ++p) {
      V away, d;
      simd::load(away, x.at + p * x.step, count);
      simd::load(d, dz.at + p * dz.step, count);
      if constexpr (!silu) __builtin_prefetch(dx.at + (p + block) * dx.step, 1);
      simd::store(dx.at + p * dx.step, a * d - b - (away - m) * c, count);
    }
  });
}

template <class T, bool silu>
void gradient(const GroupNormGrad::Args& a, const Slab& slab) {
  const GroupNormShape& s = a.shape;
  const Index c = s.channels, width = c / s.groups, n = slab.image;
  const Gradient<T> g{{static_cast<const T*>(a.x), static_cast<const T*>(a.x2), s, n},
                      {static_cast<T*>(a.dx), static_cast<T*>(a.dx2), s, n},
                      static_cast<const T*>(a.dy) + n * s.positions * c,
                      static_cast<const T*>(a.weight),
                      static_cast<const T*>(a.bias)};
  Scratch<T> scratch(4 * c);
  T *mean = scratch.data(), *scale = mean + c, *shift = scale + c, *slope = shift + c;
  Scratch<double> sums(2 * c);
  double *sum = sums.data(), *sum_xh = sum + c;
  spread(static_cast<const T*>(a.statistics) + 2 * n * s.groups, s, slab, mean, scale);
  gradient_sums<T, silu>(g, s, slab, mean, scale, sum, sum_xh);

  T* dbias = static_cast<T*>(a.partial) + n * 2 * c;
  T* dweight = dbias + c;
  for (Index j = slab.first; j < slab.end; ++j) {
    dbias[j] = static_cast<T>(sum[j]);
    dweight[j] = static_cast<T>(sum_xh[j]);
  }
  const double m = static_cast<double>(s.positions * width);
  for (Index first = slab.first; first < slab.end; first += width) {
    double total = 0.0, total_xh = 0.0;
    for (Index j = first; j < first + width; ++j) {
      total += sum[j] * static_cast<double>(g.gamma[j]);
      total_xh += sum_xh[j] * static_cast<double>(g.gamma[j]);
    }
    const double rstd = static_cast<double>(scale[first]);
    for (Index j = first; j < first + width; ++j) {
      scale[j] = static_cast<T>(rstd * static_cast<double>(g.gamma[j]));
      shift[j] = static_cast<T>(rstd * total / m);
      slope[j] = static_cast<T>(rstd * rstd * total_xh / m);
    }
  }
  gradient_apply<T, silu>(g, s, slab, mean, scale, shift, slope);
}

/// dbias and dweight: the images' shares added in order.
template <class T>
void add_images(const GroupNormGrad::Args& a) {
  const Index c = a.shape.channels;
  const T* partial = static_cast<const T*>(a.partial);
  Scratch<double> total(2 * c);
  std::fill_n(total.data(), 2 * c, 0.0);
  for (Index n = 0; n < a.shape.n; ++n) {
    for (Index j = 0; j < 2 * c; ++j) {
      total.data()[j] += static_cast<double>(partial[n * 2 * c + j]);
    }
  }
  for (Index j = 0; j < c; ++j) {
    static_cast<T*>(a.dbias)[j] = static_cast<T>(total.data()[j]);
    static_cast<T*>(a.dweight)[j] = static_cast<T>(total.data()[c + j]);
  }
}

}  // namespace

void GroupNorm::cpu(const Args& a) {
  if (a.shape.positions * a.shape.channels == 0) return;
  with_float(name, a.dtype, [&]<class T>(T) {
    for_slabs<T>(a.shape, [&](const Slab& slab) {
      a.silu ? normalize<T, true>(a, slab) : normalize<T, false>(a, slab);
    });
  });
}

void GroupNormGrad::cpu(const Args& a) {
  if (a.shape.channels == 0) return;
  with_float(name, a.dtype, [&]<class T>(T) {
    for_slabs<T>(a.shape, [&](const Slab& slab) {
      a.silu ? gradient<T, true>(a, slab) : gradient<T, false>(a, slab);
    });
    add_images<T>(a);
  });
}

}  // namespace ito::kernel
