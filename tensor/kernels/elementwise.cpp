#include "tensor/kernels/elementwise.h"

#include <type_traits>

#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t grain = 1 << 14;

// Calls row(y_offset, count, {offset of each input}) for the rows [begin, end) of the index space:
// runs along its last axis.
template <int inputs, class Row>
void for_rows(const Broadcast& index, std::int64_t begin, std::int64_t end, Row row) {
  const int outer = index.rank - 1;
  std::int64_t at[Broadcast::max_rank] = {};
  std::int64_t offset[inputs] = {};
  std::int64_t rest = begin;
  for (int d = outer - 1; d >= 0; --d) {
    at[d] = rest % index.size[d];
    rest /= index.size[d];
    for (int i = 0; i < inputs; ++i) offset[i] += at[d] * index.step[i][d];
  }
  const std::int64_t count = index.size[outer];
  for (std::int64_t r = begin; r < end; ++r) {
    row(r * count, count, offset);
    for (int d = outer - 1; d >= 0; --d) {
      for (int i = 0; i < inputs; ++i) offset[i] += index.step[i][d];
      if (++at[d] < index.size[d]) break;
      at[d] = 0;
      for (int i = 0; i < inputs; ++i) offset[i] -= index.size[d] * index.step[i][d];
    }
  }
}

template <class Body>
void parallel_rows(const Broadcast& index, std::int64_t n, Body body) {
  const std::int64_t count = index.size[index.rank - 1];
  parallel_for(n / count, ceil_div(grain, count), body);
}

// One row of Binary. The usual steps are compile-time constants, so that they vectorise.
template <class F, class T>
void binary_row(F f, const T* a, const T* b, T* y, std::int64_t n, std::int64_t step_a,
                std::int64_t step_b) {
  if (step_a == 1 && step_b == 1) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
  } else if (step_a == 1 && step_b == 0) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(a[i], *b);
  } else if (step_a == 0 && step_b == 1) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(*a, b[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(a[i * step_a], b[i * step_b]);
  }
}

template <class T, class F>
void binary(const typename Binary<F>::Args& args) {
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  T* y = static_cast<T*>(args.y);
  const int last = args.index.rank - 1;
  const std::int64_t step_a = args.index.step[0][last], step_b = args.index.step[1][last];
  if (last == 0) {  // one long row: cut along it
    parallel_for(args.n, grain, [=](std::int64_t begin, std::int64_t end) {
      binary_row(F{}, a + begin * step_a, b + begin * step_b, y + begin, end - begin, step_a,
                 step_b);
    });
    return;
  }
  parallel_rows(args.index, args.n, [&](std::int64_t begin, std::int64_t end) {
    for_rows<2>(args.index, begin, end,
                [=](std::int64_t at, std::int64_t count, const std::int64_t* offset) {
                  binary_row(F{}, a + offset[0], b + offset[1], y + at, count, step_a, step_b);
                });
  });
}

}  // namespace

template <class F>
void Unary<F>::cpu(const Args& args) {
  with_float(name, args.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    const F f = args.f;
    parallel_for(args.n, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) y[i] = f(x[i]);
    });
  });
}

template <class F>
void Binary<F>::cpu(const Args& args) {
  if (args.n == 0) return;
  with_float(name, args.dtype, [&]<class T>(T) { binary<T, F>(args); });
}

namespace {

// One row of Where. The usual steps are compile-time constants, so that they vectorise.
template <class T>
void where_row(const T* c, const T* a, const T* b, T* y, std::int64_t n, std::int64_t step_c,
               std::int64_t step_a, std::int64_t step_b) {
  const auto run = [=](auto one_a, auto one_b) {
    for (std::int64_t i = 0; i < n; ++i) {
      const T from_a = a[one_a ? i : 0], from_b = b[one_b ? i : 0];
      y[i] = c[i] != T(0) ? from_a : from_b;
    }
  };
  if (step_c == 1 && step_a == 1 && step_b == 1) {
    run(std::true_type{}, std::true_type{});
  } else if (step_c == 1 && step_a == 1 && step_b == 0) {
    run(std::true_type{}, std::false_type{});
  } else if (step_c == 1 && step_a == 0 && step_b == 1) {
    run(std::false_type{}, std::true_type{});
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      y[i] = c[i * step_c] != T(0) ? a[i * step_a] : b[i * step_b];
    }
  }
}

}  // namespace

void Where::cpu(const Args& args) {
  if (args.n == 0) return;
  with_float(name, args.dtype, [&]<class T>(T) {
    const T* c = static_cast<const T*>(args.condition);
    const T* a = static_cast<const T*>(args.a);
    const T* b = static_cast<const T*>(args.b);
    T* y = static_cast<T*>(args.y);
    const int last = args.index.rank - 1;
    const std::int64_t step_c = args.index.step[0][last], step_a = args.index.step[1][last],
                       step_b = args.index.step[2][last];
    if (last == 0) {  // one long row: cut along it
      parallel_for(args.n, grain, [=](std::int64_t begin, std::int64_t end) {
        where_row(c + begin * step_c, a + begin * step_a, b + begin * step_b, y + begin,
                  end - begin, step_c, step_a, step_b);
      });
      return;
    }
    parallel_rows(args.index, args.n, [&](std::int64_t begin, std::int64_t end) {
      for_rows<3>(args.index, begin, end,
                  [=](std::int64_t at, std::int64_t count, const std::int64_t* offset) {
                    where_row(c + offset[0], a + offset[1], b + offset[2], y + at, count, step_c,
                              step_a, step_b);
                  });
    });
  });
}

// The list of kernels; cuda/elementwise.cu has the same for the device.
template struct Unary<Neg>;
template struct Unary<Abs>;
template struct Unary<Sign>;
template struct Unary<Exp>;
template struct Unary<Log>;
template struct Unary<Sqrt>;
template struct Unary<Rsqrt>;
template struct Unary<Sin>;
template struct Unary<Cos>;
template struct Unary<Tanh>;
template struct Unary<Sigmoid>;
template struct Unary<Silu>;
template struct Unary<Softplus>;
template struct Unary<Erf>;
template struct Unary<PowScalar>;
template struct Unary<Affine>;
template struct Unary<Clamp>;
template struct Unary<Within>;
template struct Binary<Add>;
template struct Binary<Sub>;
template struct Binary<Mul>;
template struct Binary<Div>;
template struct Binary<Pow>;
template struct Binary<Maximum>;
template struct Binary<Minimum>;
template struct Binary<SiluGrad>;
template struct Binary<Equal>;
template struct Binary<Less>;
template struct Binary<LessEqual>;

}  // namespace ito::kernel
