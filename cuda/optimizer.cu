// Adam, the average of the weights, their bf16 copy, and the norm of the gradients: passes over
// flat buffers, where nothing counts but the bytes moved. Of one parameter, with f32 / bf16
// gradients:
//
//   rung 1, a kernel each                          read   written
//     Scale: grad *= clipping factor               4 / 2  4 / 2
//     AdamStep: p, m, v from grad                 16 / 14   12
//     EmaStep: average from p                        8       4
//     Cast: bf16 copy of p                        4       2      54 / 48 bytes
//   rung 2, one kernel: p, grad, m, v, average are
//     read once, p, m, v, average and copy written 20 / 18  18      38 / 36 bytes
//   rung 3, the same bytes as vectors: a thread moves 16 bytes of p, m, v and the average with one
//     instruction each, so that fewer instructions keep more bytes in flight.
//
// The norm of the gradients must be known before the first parameter changes, so SquaredNorm is a
// pass of its own (4 / 2 bytes). Clipping is then a factor of rung 2, which costs nothing.
#include <climits>
#include <cmath>

#include "cuda/element.h"
#include "cuda/launch.h"
#include "cuda/optimizer.h"
#include "cuda/reduce.h"

namespace ito::cuda {
namespace {

constexpr int block = 256;

// As many blocks as the device holds at a time, at 48 registers a thread: each then has its
// constants ready for many turns. 1024 threads that load 76 bytes each keep 76 KB of a
// multiprocessor in flight, where the memory of an H200 needs about 30 to be busy.
unsigned blocks_on_device(std::int64_t threads) {
  return blocks_for(threads, block, std::int64_t{properties().multiprocessors} * 4);
}

// ---- Adam
// ----------------------------------------------------------------------------------------

// The parts of AdamStep::Args that a kernel needs. G: type of the gradients.
template <class G>
struct Buffers {
  float* p;
  const G* grad;
  float* m;
  float* v;
  float* average;
  bf16* copy;
  std::int64_t n;
  const kernel::AdamScalars* scalars;
  float beta1, rest1, beta2, rest2, eps;  // rest: 1 - beta
};

// The update of one element, with all its constants in registers.
struct Update {
  float beta1, rest1, beta2, rest2, eps;
  float step_size, decay, bias2_rsqrt, grad_scale, rate;

  template <class G>
  __device__ explicit Update(const Buffers<G>& b)
      : beta1(b.beta1),
        rest1(b.rest1),
        beta2(b.beta2),
        rest2(b.rest2),
        eps(b.eps),
        step_size(static_cast<float>(b.scalars->step_size)),
        decay(static_cast<float>(b.scalars->decay)),
        bias2_rsqrt(static_cast<float>(b.scalars->bias2_rsqrt)),
        grad_scale(static_cast<float>(b.scalars->grad_scale)),
        rate(static_cast<float>(b.scalars->average_rate)) {}

  __device__ void operator()(float& p, float& m, float& v, float grad) const {
    const float g = grad_scale * grad;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    p = decay * p - step_size * m / (sqrtf(v) * bias2_rsqrt + eps);
  }
};

template <class G>
__device__ void update_element(const Buffers<G>& b, const Update& update, std::int64_t i) {
  float p = b.p[i], m = b.m[i], v = b.v[i];
  update(p, m, v, to_float(b.grad[i]));
  b.p[i] = p;
  b.m[i] = m;
  b.v[i] = v;
  if (b.average != nullptr) b.average[i] += update.rate * (p - b.average[i]);
  if (b.copy != nullptr) b.copy[i] = from_float<bf16>(p);
}

template <class G>
__global__ void adam_by_element(Buffers<G> b) {
  if (b.scalars->update == 0.0) return;
  const Update update(b);
  for (const std::int64_t i : grid_stride(b.n)) update_element(b, update, i);
}

template <class T>
using Four = Vec<T, 4>;

template <class G>
__global__ void adam_by_vector(Buffers<G> b) {
  if (b.scalars->update == 0.0) return;
  const Update update(b);
  const std::int64_t vectors = b.n / 4;
  auto* const ps = reinterpret_cast<Four<float>*>(b.p);
  auto* const ms = reinterpret_cast<Four<float>*>(b.m);
  auto* const vs = reinterpret_cast<Four<float>*>(b.v);
  auto* const averages = reinterpret_cast<Four<float>*>(b.average);
  auto* const copies = reinterpret_cast<Four<bf16>*>(b.copy);
  const auto* const grads = reinterpret_cast<const Four<G>*>(b.grad);
  for (const std::int64_t i : grid_stride(vectors)) {
    // All loads stand before the first use, so that they are under way together.
    Four<float> p = ps[i], m = ms[i], v = vs[i], average{};
    const Four<G> grad = grads[i];
    if (b.average != nullptr) average = averages[i];
    for (int k = 0; k < 4; ++k) {
      update(p[k], m[k], v[k], to_float(grad[k]));
      average[k] += update.rate * (p[k] - average[k]);
    }
    ps[i] = p;
    ms[i] = m;
    vs[i] = v;
    if (b.average != nullptr) averages[i] = average;
    if (b.copy != nullptr) {
      Four<bf16> copy;
      for (int k = 0; k < 4; ++k) copy[k] = from_float<bf16>(p[k]);
      copies[i] = copy;
    }
  }
  const std::int64_t tail = 4 * vectors + blockIdx.x * std::int64_t{block} + threadIdx.x;
  if (tail < b.n) update_element(b, update, tail);
}

template <class G>
Buffers<G> buffers(const kernel::AdamStep::Args& a) {
  return {static_cast<float*>(a.p),
          static_cast<const G*>(a.grad),
          static_cast<float*>(a.m),
          static_cast<float*>(a.v),
          static_cast<float*>(a.average),
          a.copy,
          a.n,
          a.scalars,
          static_cast<float>(a.beta1),
          static_cast<float>(1.0 - a.beta1),
          static_cast<float>(a.beta2),
          static_cast<float>(1.0 - a.beta2),
          static_cast<float>(a.eps)};
}

void expect_f32(const kernel::AdamStep::Args& a) {
  if (a.dtype == DType::f32) return;
  throw DTypeError(std::string(kernel::AdamStep::name) +
                   ": parameters on the device must be f32; got " + name_of(a.dtype));
}

bool can_use_vectors(const kernel::AdamStep::Args& a) {
  for (const void* f : {static_cast<const void*>(a.p), static_cast<const void*>(a.m),
                        static_cast<const void*>(a.v), static_cast<const void*>(a.average)}) {
    if (!is_aligned<Four<float>>(f)) return false;
  }
  const bool grad = a.grad_dtype == DType::bf16 ? is_aligned<Four<bf16>>(a.grad)
                                                : is_aligned<Four<float>>(a.grad);
  return grad && is_aligned<Four<bf16>>(a.copy);
}

// The decision whether this step updates, and its scalars: one block, one thread of which decides.
template <class T>
__global__ void adam_begin(kernel::AdamBegin::Args a) {
  ITO_SHARED(int, scratch, [block / 32]);
  const T* losses = static_cast<const T*>(a.losses);
  int bad = 0;
  for (std::int64_t i = threadIdx.x; i < a.n_losses; i += block) {
    if (!std::isfinite(to_float(losses[i]))) ++bad;
  }
  bad = block_reduce(bad, scratch);
  if (threadIdx.x == 0) kernel::begin_adam(a, bad == 0);
}

__global__ void record_step(const float* losses, const std::int64_t* t,
                            const kernel::AdamScalars* scalars, double* rows,
                            std::int64_t* position, std::int64_t n, std::int64_t capacity) {
  double* row = rows + *position % capacity * (2 * n + 2);
  for (std::int64_t i = threadIdx.x; i < n; i += block) {
    row[i] = static_cast<double>(losses[i]);
    row[n + i] = static_cast<double>(t[i]);
  }
  __syncthreads();  // everybody has read the position
  if (threadIdx.x != 0) return;
  row[2 * n] = scalars->grad_norm;
  row[2 * n + 1] = scalars->update;
  ++*position;
}

// ---- norms, factors, bad numbers
// -----------------------------------------------------------------

// A first sum per block, over a number of blocks that depends on n alone; then one block adds those
// in order. In f64: squares of large f32 numbers would overflow, and the pass waits for memory
// anyway.
constexpr std::int64_t max_partial_sums = 1024;

template <class T>
__global__ void squared_norm_of_blocks(const T* x, std::int64_t n, bool vectors, double* partial) {
  ITO_SHARED(double, scratch, [block / 32]);
  constexpr int width = Vec<T>::size;
  const std::int64_t whole = vectors ? n / width : 0;
  double sum = 0.0;
  const auto* xs = reinterpret_cast<const Vec<T>*>(x);
  for (const std::int64_t i : grid_stride(whole)) {
    const Vec<T> v = xs[i];
    for (int k = 0; k < width; ++k) {
      const double value = static_cast<double>(to_float(v[k]));
      sum += value * value;
    }
  }
  for (const std::int64_t i : grid_stride(n - whole * width)) {
    const double value = static_cast<double>(to_float(x[whole * width + i]));
    sum += value * value;
  }
  sum = block_reduce(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void sum_of_blocks(const double* partial, std::int64_t count, double* y) {
  ITO_SHARED(double, scratch, [block / 32]);
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += block) sum += partial[i];
  sum = block_reduce(sum, scratch);
  if (threadIdx.x == 0) *y = sum;
}

template <class T>
__global__ void scale(T* x, std::int64_t n, float factor) {
  for (const std::int64_t i : grid_stride(n)) x[i] = from_float<T>(factor * to_float(x[i]));
}

__global__ void ema_step(float* average, const float* x, std::int64_t n, float rate) {
  for (const std::int64_t i : grid_stride(n)) average[i] += rate * (x[i] - average[i]);
}

struct Smaller {
  __device__ long long operator()(long long a, long long b) const { return b < a ? b : a; }
};

template <class T>
__global__ void first_bad_of_blocks(const T* x, std::int64_t n, long long* first) {
  ITO_SHARED(long long, scratch, [block / 32]);
  long long found = LLONG_MAX;
  for (const std::int64_t i : grid_stride(n)) {
    if (found == LLONG_MAX && !std::isfinite(to_float(x[i]))) found = i;
  }
  found = block_reduce(found, scratch, Smaller{});
  if (threadIdx.x == 0) first[blockIdx.x] = found;
}

__global__ void first_of_blocks(const long long* first, std::int64_t count, std::int64_t* index) {
  ITO_SHARED(long long, scratch, [block / 32]);
  long long found = LLONG_MAX;
  for (std::int64_t i = threadIdx.x; i < count; i += block) found = Smaller{}(found, first[i]);
  found = block_reduce(found, scratch, Smaller{});
  if (threadIdx.x == 0) *index = found == LLONG_MAX ? -1 : found;
}

}  // namespace

void adam_fused(const kernel::AdamStep::Args& a) {
  expect_f32(a);
  with_element(kernel::AdamStep::name, a.grad_dtype, [&](auto element) {
    launch(adam_by_element<decltype(element)>, blocks_on_device(a.n), block, 0,
           buffers<decltype(element)>(a));
  });
}

void adam_vectors(const kernel::AdamStep::Args& a) {
  if (!can_use_vectors(a)) return adam_fused(a);
  expect_f32(a);
  with_element(kernel::AdamStep::name, a.grad_dtype, [&](auto element) {
    launch(adam_by_vector<decltype(element)>, blocks_on_device((a.n + 3) / 4), block, 0,
           buffers<decltype(element)>(a));
  });
}

}  // namespace ito::cuda

namespace ito::kernel {

using namespace ito::cuda;  // NOLINT: the kernels above

void AdamBegin::cuda(const Args& a) {
  if (a.losses == nullptr) return cuda::launch(adam_begin<float>, 1, block, 0, a);
  with_element(name, a.losses_dtype,
               [&](auto element) { cuda::launch(adam_begin<decltype(element)>, 1, block, 0, a); });
}

void AdamStep::cuda(const Args& a) { adam_vectors(a); }

void EmaStep::cuda(const Args& a) {
  if (a.dtype != DType::f32) {
    throw DTypeError(std::string(name) + ": averages on the device must be f32; got " +
                     name_of(a.dtype));
  }
  cuda::launch(ema_step, blocks_on_device(a.n), block, 0, static_cast<float*>(a.average),
               static_cast<const float*>(a.x), a.n, static_cast<float>(1.0 - a.decay));
}

void SquaredNorm::cuda(const Args& a) {
  with_element(name, a.dtype, [&](auto element) {
    using T = decltype(element);
    const T* x = static_cast<const T*>(a.x);
    const unsigned blocks = blocks_for(a.n, block * 4 * Vec<T>::size, max_partial_sums);
    Scratch<double> partial(blocks);
    cuda::launch(squared_norm_of_blocks<T>, blocks, block, 0, x, a.n, is_aligned<Vec<T>>(x),
                 partial.data());
    cuda::launch(sum_of_blocks, 1, block, 0, partial.data(), std::int64_t{blocks}, a.y);
  });
}

void Scale::cuda(const Args& a) {
  with_element(name, a.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::launch(scale<T>, blocks_on_device(a.n), block, 0, static_cast<T*>(a.x), a.n,
                 static_cast<float>(a.factor));
  });
}

void FirstNonFinite::cuda(const Args& a) {
  with_element(name, a.dtype, [&](auto element) {
    using T = decltype(element);
    const unsigned blocks = blocks_for(a.n, block, max_partial_sums);
    Scratch<long long> first(blocks);
    cuda::launch(first_bad_of_blocks<T>, blocks, block, 0, static_cast<const T*>(a.x), a.n,
                 first.data());
    cuda::launch(first_of_blocks, 1, block, 0, first.data(), std::int64_t{blocks}, a.index);
  });
}

void RecordStep::cuda(const Args& a) {
  if (a.dtype != DType::f32) {
    throw DTypeError(std::string(name) + ": losses on the device must be f32; got " +
                     name_of(a.dtype));
  }
  cuda::launch(record_step, 1, block, 0, static_cast<const float*>(a.losses), a.t, a.scalars,
               a.rows, a.position, a.n, a.capacity);
}

}  // namespace ito::kernel
