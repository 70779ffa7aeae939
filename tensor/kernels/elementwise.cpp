#include "tensor/kernels/elementwise.h"

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
  parallel_for(n / count, (grain + count - 1) / count, body);
}

template <class T, class F>
void binary(const typename Binary<F>::Args& args) {
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  T* y = static_cast<T*>(args.y);
  const F f;
  if (args.index.rank == 1 && args.index.step[0][0] == 1 && args.index.step[1][0] == 1) {
    parallel_for(args.n, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) y[i] = f(a[i], b[i]);
    });
    return;
  }
  parallel_rows(args.index, args.n, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t step_a = args.index.step[0][args.index.rank - 1];
    const std::int64_t step_b = args.index.step[1][args.index.rank - 1];
    for_rows<2>(args.index, begin, end,
                [=](std::int64_t at, std::int64_t count, const std::int64_t* offset) {
                  const T* pa = a + offset[0];
                  const T* pb = b + offset[1];
                  T* py = y + at;
                  if (step_a == 1 && step_b == 1) {
                    for (std::int64_t i = 0; i < count; ++i) py[i] = f(pa[i], pb[i]);
                  } else if (step_a == 1 && step_b == 0) {
                    for (std::int64_t i = 0; i < count; ++i) py[i] = f(pa[i], *pb);
                  } else if (step_a == 0 && step_b == 1) {
                    for (std::int64_t i = 0; i < count; ++i) py[i] = f(*pa, pb[i]);
                  } else {
                    for (std::int64_t i = 0; i < count; ++i)
                      py[i] = f(pa[i * step_a], pb[i * step_b]);
                  }
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

void Where::cpu(const Args& args) {
  if (args.n == 0) return;
  with_float(name, args.dtype, [&]<class T>(T) {
    const T* c = static_cast<const T*>(args.condition);
    const T* a = static_cast<const T*>(args.a);
    const T* b = static_cast<const T*>(args.b);
    T* y = static_cast<T*>(args.y);
    const int last = args.index.rank - 1;
    const std::int64_t* step[3] = {args.index.step[0], args.index.step[1], args.index.step[2]};
    parallel_rows(args.index, args.n, [&](std::int64_t begin, std::int64_t end) {
      for_rows<3>(args.index, begin, end,
                  [=](std::int64_t at, std::int64_t count, const std::int64_t* offset) {
                    for (std::int64_t i = 0; i < count; ++i) {
                      const bool yes = c[offset[0] + i * step[0][last]] != T(0);
                      y[at + i] =
                          yes ? a[offset[1] + i * step[1][last]] : b[offset[2] + i * step[2][last]];
                    }
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
