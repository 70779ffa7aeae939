#include "tensor/kernels/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t grain = 1 << 15;  // elements; four f32 streams of it fit a level-2 cache

double number(double x) { return x; }
double number(bf16 x) { return static_cast<double>(static_cast<float>(x)); }

// Gradients may be bf16 too.
template <class F>
void with_gradient(const char* op, DType dtype, F&& f) {
  if (dtype == DType::bf16) return f(bf16{});
  with_float(op, dtype, f);
}

}  // namespace

void AdamBegin::cpu(const Args& a) {
  bool finite = true;
  if (a.losses != nullptr) {
    with_float(name, a.losses_dtype, [&]<class T>(T) {
      const T* losses = static_cast<const T*>(a.losses);
      finite = std::all_of(losses, losses + a.n_losses, [](T x) { return std::isfinite(x); });
    });
  }
  begin_adam(a, finite);
}

namespace {

// T: parameters, moments and average. G: gradients.
template <class T, class G>
void adam_step(const AdamStep::Args& a) {
  T* __restrict p = static_cast<T*>(a.p);
  const G* __restrict grad = static_cast<const G*>(a.grad);
  T* __restrict m = static_cast<T*>(a.m);
  T* __restrict v = static_cast<T*>(a.v);
  T* __restrict average = static_cast<T*>(a.average);
  bf16* __restrict copy = a.copy;
  const T beta1 = static_cast<T>(a.beta1), one_minus_beta1 = static_cast<T>(1.0 - a.beta1);
  const T beta2 = static_cast<T>(a.beta2), one_minus_beta2 = static_cast<T>(1.0 - a.beta2);
  const T eps = static_cast<T>(a.eps);
  const T step_size = static_cast<T>(a.scalars->step_size);
  const T decay = static_cast<T>(a.scalars->decay);
  const T bias2_rsqrt = static_cast<T>(a.scalars->bias2_rsqrt);
  const T grad_scale = static_cast<T>(a.scalars->grad_scale);
  const T rate = static_cast<T>(a.scalars->average_rate);
  // Several loops over a chunk: it stays in the cache, and each loop is made of vectors.
  parallel_for(a.n, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = grad_scale * static_cast<T>(grad[i]);
      m[i] = beta1 * m[i] + one_minus_beta1 * g;
      v[i] = beta2 * v[i] + one_minus_beta2 * g * g;
      p[i] = decay * p[i] - step_size * m[i] / (std::sqrt(v[i]) * bias2_rsqrt + eps);
    }
    if (average != nullptr) {
      for (std::int64_t i = begin; i < end; ++i) average[i] += rate * (p[i] - average[i]);
    }
    if (copy != nullptr) {
      for (std::int64_t i = begin; i < end; ++i) copy[i] = bf16(static_cast<float>(p[i]));
    }
  });
}

}  // namespace

void AdamStep::cpu(const Args& a) {
  if (a.scalars->update == 0.0) return;
  with_float(name, a.dtype, [&]<class T>(T) {
    if (a.grad_dtype == a.dtype) return adam_step<T, T>(a);
    if constexpr (std::is_same_v<T, float>) {
      if (a.grad_dtype == DType::bf16) return adam_step<float, bf16>(a);
    }
    throw DTypeError(std::string(name) + ": gradients of " + name_of(a.dtype) +
                     " parameters must have their dtype or be bf16 beside f32; got " +
                     name_of(a.grad_dtype));
  });
}

void EmaStep::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    T* __restrict average = static_cast<T*>(a.average);
    const T* __restrict x = static_cast<const T*>(a.x);
    const T rate = static_cast<T>(1.0 - a.decay);
    parallel_for(a.n, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) average[i] += rate * (x[i] - average[i]);
    });
  });
}

void SquaredNorm::cpu(const Args& a) {
  with_gradient(name, a.dtype, [&]<class T>(T) {
    constexpr int lanes = 16;  // independent sums, so that the compiler can use vectors
    const T* x = static_cast<const T*>(a.x);
    std::vector<double> partial(static_cast<std::size_t>(ceil_div(a.n, grain)), 0.0);
    parallel_for(a.n, grain, [&](std::int64_t begin, std::int64_t end) {
      double sums[lanes] = {};
      std::int64_t i = begin;
      for (; i + lanes <= end; i += lanes) {
        for (int k = 0; k < lanes; ++k) {
          const double value = number(x[i + k]);
          sums[k] += value * value;
        }
      }
      for (int k = 0; i < end; ++i, ++k) {
        const double value = number(x[i]);
        sums[k] += value * value;
      }
      double total = 0.0;
      for (const double s : sums) total += s;
      partial[static_cast<std::size_t>(begin / grain)] = total;
    });
    double total = 0.0;
    for (const double s : partial) total += s;
    *a.y = total;
  });
}

void Scale::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    T* x = static_cast<T*>(a.x);
    const T factor = static_cast<T>(a.factor);
    parallel_for(a.n, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) x[i] *= factor;
    });
  });
}

void FirstNonFinite::cpu(const Args& a) {
  with_gradient(name, a.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(a.x);
    std::vector<std::int64_t> first(static_cast<std::size_t>(ceil_div(a.n, grain)), -1);
    parallel_for(a.n, grain, [&](std::int64_t begin, std::int64_t end) {
      const T* found =
          std::find_if(x + begin, x + end, [](T value) { return !std::isfinite(number(value)); });
      if (found != x + end) first[static_cast<std::size_t>(begin / grain)] = found - x;
    });
    const auto found = std::find_if(first.begin(), first.end(), [](auto i) { return i >= 0; });
    *a.index = found == first.end() ? -1 : *found;
  });
}

void RecordStep::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    double* row = a.rows + *a.position % a.capacity * (2 * a.n + 2);
    const T* losses = static_cast<const T*>(a.losses);
    for (std::int64_t i = 0; i < a.n; ++i) {
      row[i] = static_cast<double>(losses[i]);
      row[a.n + i] = static_cast<double>(a.t[i]);
    }
    row[2 * a.n] = a.scalars->grad_norm;
    row[2 * a.n + 1] = a.scalars->update;
    ++*a.position;
  });
}

}  // namespace ito::kernel
