// Contracts: element-wise functions with broadcasting.
//
// A function is a small struct with an operator(), so that both halves of the kernel run the same
// formula: Unary<F> and Binary<F> turn it into a kernel. A new function is one struct here,
// one line in the list at the end of elementwise.cpp (and elementwise.cu), and one op in
// autograd/ops/elementwise.cpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"
#include "tensor/kernels/math.h"

namespace ito::kernel {

// ---- functions of one number -------------------------------------------------------------------

struct Neg {
  static constexpr const char* name = "neg";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return -x;
  }
};
struct Abs {
  static constexpr const char* name = "abs";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::abs(x);
  }
};
/// -1, 0 or 1: the derivative of abs, 0 at 0.
struct Sign {
  static constexpr const char* name = "sign";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return T(x > T(0)) - T(x < T(0));
  }
};
struct Exp {
  static constexpr const char* name = "exp";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return math::exp(x);
  }
};
struct Log {
  static constexpr const char* name = "log";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::log(x);
  }
};
struct Sqrt {
  static constexpr const char* name = "sqrt";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::sqrt(x);
  }
};
struct Rsqrt {
  static constexpr const char* name = "rsqrt";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return T(1) / std::sqrt(x);
  }
};
struct Sin {
  static constexpr const char* name = "sin";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::sin(x);
  }
};
struct Cos {
  static constexpr const char* name = "cos";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::cos(x);
  }
};
struct Tanh {
  static constexpr const char* name = "tanh";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::tanh(x);
  }
};
struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return math::sigmoid(x);
  }
};
/// x sigmoid(x)
struct Silu {
  static constexpr const char* name = "silu";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return x * math::sigmoid(x);
  }
};
/// log(1 + e^x), without overflow
struct Softplus {
  static constexpr const char* name = "softplus";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return (x > T(0) ? x : T(0)) + std::log1p(math::exp(-std::abs(x)));
  }
};
/// The Gauss error function.
struct Erf {
  static constexpr const char* name = "erf";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::erf(x);
  }
};
/// x^p for a fixed p
struct PowScalar {
  static constexpr const char* name = "pow";
  double p;
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return std::pow(x, T(p));
  }
};
/// scale x + shift
struct Affine {
  static constexpr const char* name = "affine";
  double scale, shift;
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return T(scale) * x + T(shift);
  }
};
/// min(max(x, low), high); NaN stays NaN
struct Clamp {
  static constexpr const char* name = "clamp";
  double low, high;
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return x < T(low) ? T(low) : x > T(high) ? T(high) : x;
  }
};
/// 1 where low <= x <= high, else 0: the derivative of clamp
struct Within {
  static constexpr const char* name = "within";
  double low, high;
  template <class T>
  ITO_HOST_DEVICE T operator()(T x) const {
    return T(x >= T(low) && x <= T(high));
  }
};

// ---- functions of two numbers ------------------------------------------------------------------

struct Add {
  static constexpr const char* name = "add";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Sub {
  static constexpr const char* name = "sub";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return a - b;
  }
};
struct Mul {
  static constexpr const char* name = "mul";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return a * b;
  }
};
struct Div {
  static constexpr const char* name = "div";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return a / b;
  }
};
struct Pow {
  static constexpr const char* name = "pow";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return std::pow(a, b);
  }
};
/// The larger; NaN if either is NaN
struct Maximum {
  static constexpr const char* name = "maximum";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return a != a ? a : (b > a || b != b) ? b : a;
  }
};
struct Minimum {
  static constexpr const char* name = "minimum";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return a != a ? a : (b < a || b != b) ? b : a;
  }
};
/// dy silu'(x) = dy s (1 + x (1 - s)), s = sigmoid(x)
struct SiluGrad {
  static constexpr const char* name = "silu_grad";
  template <class T>
  ITO_HOST_DEVICE T operator()(T x, T dy) const {
    const T s = math::sigmoid(x);
    return dy * s * (T(1) + x * (T(1) - s));
  }
};

// ---- comparisons: 1 where true, else 0, in the dtype of the arguments ---------------------------

struct Equal {
  static constexpr const char* name = "equal";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return T(a == b);
  }
};
struct Less {
  static constexpr const char* name = "less";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return T(a < b);
  }
};
struct LessEqual {
  static constexpr const char* name = "less_equal";
  template <class T>
  ITO_HOST_DEVICE T operator()(T a, T b) const {
    return T(a <= b);
  }
};

// ---- kernels -----------------------------------------------------------------------------------

/// y[i] = f(x[i]), i < n
template <class F>
struct Unary {
  static constexpr const char* name = F::name;
  struct Args {
    const void* x;
    void* y;
    std::int64_t n;
    DType dtype;
    F f;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(2 * a.n, a.dtype)}; }
};

/// The index space of a broadcast: `rank` axes of `size`, and the step in elements that each input
/// takes along an axis, 0 where it is repeated. Neighbouring axes that step alike are merged, so
/// most calls have rank 1 or 2. The output is dense.
struct Broadcast {
  static constexpr int max_rank = 8;
  static constexpr int max_inputs = 3;
  int rank = 0;
  std::int64_t size[max_rank] = {};
  std::int64_t step[max_inputs][max_rank] = {};

  /// Different elements of an input that are read.
  std::int64_t elements(int input) const {
    std::int64_t count = 1;
    for (int axis = 0; axis < rank; ++axis) {
      if (step[input][axis] != 0) count *= size[axis];
    }
    return count;
  }
};

/// y = f(a, b) over the broadcast index space
template <class F>
struct Binary {
  static constexpr const char* name = F::name;
  struct Args {
    const void* a;
    const void* b;
    void* y;
    Broadcast index;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(a.n + a.index.elements(0) + a.index.elements(1), a.dtype)};
  }
};

/// y = condition != 0 ? a : b over the broadcast index space; all of one dtype
struct Where {
  static constexpr const char* name = "where";
  struct Args {
    const void* condition;
    const void* a;
    const void* b;
    void* y;
    Broadcast index;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    const Broadcast& i = a.index;
    return {.bytes = bytes_of(a.n + i.elements(0) + i.elements(1) + i.elements(2), a.dtype)};
  }
};

}  // namespace ito::kernel
