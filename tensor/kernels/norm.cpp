// Group normalisation on the CPU: one task per image. Channels are the fast axis, so every loop
// runs over all channels of a position and vectorises, whatever the size of a group.
#include "tensor/kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/kernels/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

using Index = std::int64_t;

// Positions summed in T before a sum goes to f64: short enough for f32 to keep its precision.
constexpr Index block = 16;

// Mean and 1 / sqrt(variance + eps) of every group of one image. Sums of x and x^2 are taken
// relative to the image's first position, so that a large mean does not cancel the variance.
template <class T>
void group_statistics(const T* x, const GroupNormShape& s, double eps, T* statistics) {
  const Index c = s.channels;
  const auto size = static_cast<std::size_t>(c);
  std::vector<double> total(size, 0.0), total2(size, 0.0);
  std::vector<T> sum(size), sum2(size);
  for (Index first = 0; first < s.positions; first += block) {
    std::fill(sum.begin(), sum.end(), T(0));
    std::fill(sum2.begin(), sum2.end(), T(0));
    for (Index i = first; i < std::min(s.positions, first + block); ++i) {
      const T* row = x + i * c;
      for (Index j = 0; j < c; ++j) {
        const T d = row[j] - x[j];
        sum[static_cast<std::size_t>(j)] += d;
        sum2[static_cast<std::size_t>(j)] += d * d;
      }
    }
    for (std::size_t j = 0; j < size; ++j) {
      total[j] += static_cast<double>(sum[j]);
      total2[j] += static_cast<double>(sum2[j]);
    }
  }
  const Index width = c / s.groups;
  const double count = static_cast<double>(s.positions), m = count * static_cast<double>(width);
  for (Index g = 0; g < s.groups; ++g) {
    double mean = 0.0, squares = 0.0;
    for (Index j = g * width; j < (g + 1) * width; ++j) {
      mean += count * static_cast<double>(x[j]) + total[static_cast<std::size_t>(j)];
    }
    mean /= m;
    for (Index j = g * width; j < (g + 1) * width; ++j) {
      // The channel's squares around its own mean, then moved to the group's mean.
      const double t = total[static_cast<std::size_t>(j)];
      const double away = static_cast<double>(x[j]) + t / count - mean;
      squares += total2[static_cast<std::size_t>(j)] - t * t / count + count * away * away;
    }
    statistics[2 * g] = static_cast<T>(mean);
    statistics[2 * g + 1] = static_cast<T>(1.0 / std::sqrt(std::max(squares, 0.0) / m + eps));
  }
}

// The group's mean and rstd for every channel.
template <class T>
void spread(const T* statistics, const GroupNormShape& s, T* mean, T* rstd) {
  const Index width = s.channels / s.groups;
  for (Index j = 0; j < s.channels; ++j) {
    mean[j] = statistics[2 * (j / width)];
    rstd[j] = statistics[2 * (j / width) + 1];
  }
}

template <class T, bool silu>
void forward(const GroupNorm::Args& a) {
  const GroupNormShape s = a.shape;
  const Index c = s.channels;
  const T* gamma = static_cast<const T*>(a.weight);
  const T* beta = static_cast<const T*>(a.bias);
  parallel_for(s.n, 1, [&](Index begin, Index end) {
    std::vector<T> scratch(static_cast<std::size_t>(2 * c));
    T* mean = scratch.data();
    T* scale = mean + c;
    for (Index n = begin; n < end; ++n) {
      const T* x = static_cast<const T*>(a.x) + n * s.positions * c;
      T* y = static_cast<T*>(a.y) + n * s.positions * c;
      T* statistics = static_cast<T*>(a.statistics) + 2 * n * s.groups;
      group_statistics(x, s, a.eps, statistics);
      spread(statistics, s, mean, scale);
      for (Index j = 0; j < c; ++j) scale[j] *= gamma[j];
      for (Index i = 0; i < s.positions; ++i, x += c, y += c) {
        for (Index j = 0; j < c; ++j) {
          const T z = (x[j] - mean[j]) * scale[j] + beta[j];
          y[j] = silu ? z * math::sigmoid(z) : z;
        }
      }
    }
  });
}

// dz of one block of positions, and its sums per channel. dz is left in dx.
template <class T, bool silu>
void block_sums(const T* x, const T* dy, Index rows, Index c, const T* mean, const T* rstd,
                const T* gamma, const T* beta, T* dz, T* sum, T* sum_xh) {
  for (Index i = 0; i < rows; ++i, x += c, dy += c, dz += c) {
    for (Index j = 0; j < c; ++j) {
      const T xh = (x[j] - mean[j]) * rstd[j];
      T d = dy[j];
      if constexpr (silu) {
        const T z = xh * gamma[j] + beta[j];
        const T sigma = math::sigmoid(z);
        d *= sigma * (T(1) + z * (T(1) - sigma));
        dz[j] = d;
      }
      sum[j] += d;
      sum_xh[j] += d * xh;
    }
  }
}

template <class T, bool silu>
void image_gradient(const GroupNormGrad::Args& a, Index n) {
  const GroupNormShape s = a.shape;
  const Index c = s.channels, width = c / s.groups;
  const auto size = static_cast<std::size_t>(c);
  const T* x = static_cast<const T*>(a.x) + n * s.positions * c;
  const T* dy = static_cast<const T*>(a.dy) + n * s.positions * c;
  const T* gamma = static_cast<const T*>(a.weight);
  const T* beta = static_cast<const T*>(a.bias);
  T* dx = static_cast<T*>(a.dx) + n * s.positions * c;
  T* dbias = static_cast<T*>(a.partial) + n * 2 * c;
  T* dweight = dbias + c;
  std::vector<T> scratch(6 * size);
  T* mean = scratch.data();
  T *rstd = mean + c, *sum = rstd + c, *sum_xh = sum + c, *shift = sum_xh + c, *slope = shift + c;
  spread(static_cast<const T*>(a.statistics) + 2 * n * s.groups, s, mean, rstd);

  std::vector<double> total(size, 0.0), total_xh(size, 0.0);
  for (Index first = 0; first < s.positions; first += block) {
    const Index rows = std::min(block, s.positions - first);
    std::fill(sum, sum + 2 * c, T(0));
    block_sums<T, silu>(x + first * c, dy + first * c, rows, c, mean, rstd, gamma, beta,
                        dx + first * c, sum, sum_xh);
    for (std::size_t j = 0; j < size; ++j) {
      total[j] += static_cast<double>(sum[j]);
      total_xh[j] += static_cast<double>(sum_xh[j]);
    }
  }
  const double m = static_cast<double>(s.positions * width);
  for (Index g = 0; g < s.groups; ++g) {
    double group = 0.0, group_xh = 0.0;
    for (Index j = g * width; j < (g + 1) * width; ++j) {
      group += total[static_cast<std::size_t>(j)] * static_cast<double>(gamma[j]);
      group_xh += total_xh[static_cast<std::size_t>(j)] * static_cast<double>(gamma[j]);
    }
    // dx = rstd gamma dz - shift - (x - mean) slope
    const double r = static_cast<double>(rstd[g * width]);
    for (Index j = g * width; j < (g + 1) * width; ++j) {
      shift[j] = static_cast<T>(r * group / m);
      slope[j] = static_cast<T>(r * r * group_xh / m);
    }
  }
  for (std::size_t j = 0; j < size; ++j) {
    dbias[j] = static_cast<T>(total[j]);
    dweight[j] = static_cast<T>(total_xh[j]);
    rstd[j] *= gamma[j];
  }
  const T* dz = silu ? dx : dy;
  for (Index i = 0; i < s.positions; ++i, x += c, dz += c, dx += c) {
    for (Index j = 0; j < c; ++j) {
      dx[j] = rstd[j] * dz[j] - shift[j] - (x[j] - mean[j]) * slope[j];
    }
  }
}

template <class T>
void add_images(const GroupNormGrad::Args& a) {
  const Index c = a.shape.channels;
  const T* partial = static_cast<const T*>(a.partial);
  std::vector<double> total(static_cast<std::size_t>(2 * c), 0.0);
  for (Index n = 0; n < a.shape.n; ++n) {
    for (Index j = 0; j < 2 * c; ++j) {
      total[static_cast<std::size_t>(j)] += static_cast<double>(partial[n * 2 * c + j]);
    }
  }
  for (Index j = 0; j < c; ++j) {
    static_cast<T*>(a.dbias)[j] = static_cast<T>(total[static_cast<std::size_t>(j)]);
    static_cast<T*>(a.dweight)[j] = static_cast<T>(total[static_cast<std::size_t>(c + j)]);
  }
}

}  // namespace

void GroupNorm::cpu(const Args& a) {
  if (a.shape.positions == 0) return;
  with_float(name, a.dtype,
             [&]<class T>(T) { a.silu ? forward<T, true>(a) : forward<T, false>(a); });
}

void GroupNormGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    parallel_for(a.shape.n, 1, [&](Index begin, Index end) {
      for (Index n = begin; n < end; ++n) {
        a.silu ? image_gradient<T, true>(a, n) : image_gradient<T, false>(a, n);
      }
    });
    add_images<T>(a);
  });
}

}  // namespace ito::kernel
