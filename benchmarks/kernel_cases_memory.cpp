// Kernels that move more than they compute: optimiser, element-wise functions, copies, random
// numbers.
#include <fmt/format.h>

#include "benchmarks/kernel_cases.h"
#include "cuda/optimizer.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/fill.h"
#include "tensor/kernels/image_batch.h"
#include "tensor/kernels/layout.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/resample.h"

namespace ito::bench {
namespace {

// Adds kernel K with arguments from `make`.
template <class K>
void add(std::vector<KernelCase>& cases, DType dtype, const std::string& shape, double bytes,
         std::function<typename K::Args(Buffers&)> make, int per_step = 0) {
  cases.push_back({K::name, "best", dtype, shape, 0.0, bytes, per_step,
                   rotating<typename K::Args>(make, K::cuda)});
}

// Another rung of the case added last.
template <class K>
void add_rung(std::vector<KernelCase>& cases, const std::string& rung,
              std::function<typename K::Args(Buffers&)> make,
              void (*run)(const typename K::Args&)) {
  KernelCase c = cases.back();
  c.kernel = K::name;
  c.rung = rung;
  c.prepare = rotating<typename K::Args>(make, run);
  cases.push_back(std::move(c));
}

// One update of Adam with average and bf16 copy, gradients in `dtype`.
kernel::AdamStep::Args adam_args(Buffers& b, std::int64_t n, DType dtype) {
  // No update is skipped, nothing is clipped.
  static const std::vector<double> scalars = {1e-3, 1.0, 1.0, 1.0, 1e-4, 0.0, 1.0};
  static_assert(sizeof(kernel::AdamScalars) == 7 * sizeof(double));
  kernel::AdamStep::Args a{};
  a.p = b.state({n}, DType::f32);
  a.grad = b.input({n}, dtype);
  a.m = b.zeros({n}, DType::f32);
  a.v = b.zeros({n}, DType::f32);
  a.average = b.state({n}, DType::f32);
  if (dtype == DType::bf16) a.copy = static_cast<bf16*>(b.output({n}, DType::bf16));
  a.n = n;
  a.beta1 = 0.9, a.beta2 = 0.999, a.eps = 1e-8;
  a.scalars = static_cast<const kernel::AdamScalars*>(b.doubles(scalars));
  a.dtype = DType::f32;
  a.grad_dtype = dtype;
  return a;
}

void add_optimizer(std::vector<KernelCase>& cases, const std::string& preset, std::int64_t n) {
  const double count = static_cast<double>(n);
  const std::string shape = fmt::format("{} {} parameters", preset, n);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    // p, m, v and the average read and written, 32; the gradient read and the copy written, 4
    const auto make = [n, dtype](Buffers& b) { return adam_args(b, n, dtype); };
    add<kernel::AdamStep>(cases, dtype, shape, 36 * count, make, 1);
    add_rung<kernel::AdamStep>(cases, "fused", make, cuda::adam_fused);
    add_rung<kernel::AdamStep>(cases, "vectors", make, cuda::adam_vectors);
    add<kernel::SquaredNorm>(
        cases, dtype, shape, count * static_cast<double>(size_of(dtype)),
        [n, dtype](Buffers& b) {
          return kernel::SquaredNorm::Args{
              b.input({n}, dtype), static_cast<double*>(b.output({1}, DType::f64)), n, dtype};
        },
        1);
  }
}

// A batch of images: gathered from bytes, mirrored, normalised.
void add_image_batch(std::vector<KernelCase>& cases, const std::string& preset,
                     const Shape& images) {
  const double n = static_cast<double>(images.numel());
  add<kernel::ImageBatch>(
      cases, DType::f32, fmt::format("{} {}", preset, images.str()), n * (1.0 + 4.0),
      [=](Buffers& b) {
        const std::int64_t count = 16 * images[0];
        kernel::ImageBatch::Args a{};
        a.images = static_cast<const std::uint8_t*>(
            b.integers({count, images[1], images[2], images[3]}, 0, 256, DType::u8));
        a.indices = static_cast<const std::int64_t*>(b.integers({images[0]}, 0, count, DType::i64));
        a.x0 = static_cast<float*>(b.output(images, DType::f32));
        a.count = count;
        a.batch = images[0], a.height = images[1], a.width = images[2], a.channels = images[3];
        a.flip = true;
        a.flips.key = {1, 2};
        return a;
      },
      1);
}

// One dense axis.
kernel::Broadcast dense(std::int64_t n) {
  kernel::Broadcast index;
  index.rank = 1;
  index.size[0] = n;
  for (auto& step : index.step) step[0] = 1;
  return index;
}

void add_elementwise(std::vector<KernelCase>& cases, DType dtype, const Shape& images) {
  const std::int64_t n = images.numel(), channels = images[3];
  const double bytes = static_cast<double>(size_of(dtype)) * static_cast<double>(n);
  const std::string shape = images.str();
  add<kernel::Unary<kernel::Silu>>(cases, dtype, shape, 2 * bytes, [=](Buffers& b) {
    return kernel::Unary<kernel::Silu>::Args{
        b.input({n}, dtype), b.output({n}, dtype), n, dtype, {}};
  });
  add<kernel::Binary<kernel::Add>>(cases, dtype, shape, 3 * bytes, [=](Buffers& b) {
    return kernel::Binary<kernel::Add>::Args{
        b.input({n}, dtype), b.input({n}, dtype), b.output({n}, dtype), dense(n), n, dtype};
  });
  // The first half of a concatenation along channels.
  add<kernel::Copy>(cases, dtype, shape + " into twice the channels", 2 * bytes, [=](Buffers& b) {
    kernel::Copy::Args a{};
    a.x = b.input({n}, dtype);
    a.y = b.output({2 * n}, dtype);
    a.index.rank = 2;
    a.index.size[0] = n / channels, a.index.size[1] = channels;
    a.index.x_step[0] = channels, a.index.x_step[1] = 1;
    a.index.y_step[0] = 2 * channels, a.index.y_step[1] = 1;
    a.n = n;
    a.element = static_cast<std::int64_t>(size_of(dtype));
    return a;
  });
  // Gradient of a bias: the sum over all pixels.
  add<kernel::Sum>(cases, dtype, shape + " over pixels", bytes, [=](Buffers& b) {
    kernel::Sum::Args a{};
    a.x = b.input({n}, dtype);
    a.y = b.output({channels}, dtype);
    a.outer = 1, a.reduced = n / channels, a.inner = channels;
    a.dtype = dtype;
    return a;
  });
  add<kernel::Upsample>(cases, dtype, shape + " to twice the size", 5 * bytes, [=](Buffers& b) {
    return kernel::Upsample::Args{b.input({n}, dtype),
                                  b.output({4 * n}, dtype),
                                  images[0],
                                  images[1],
                                  images[2],
                                  channels,
                                  2,
                                  1.0,
                                  dtype};
  });
}

void add_rest(std::vector<KernelCase>& cases, std::int64_t n) {
  const std::string shape = fmt::format("{} elements", n);
  const double bytes = 4.0 * static_cast<double>(n);
  add<kernel::Random>(cases, DType::f32, shape + " normal", bytes, [n](Buffers& b) {
    kernel::Random::Args a{};
    a.y = b.output({n}, DType::f32);
    a.samples = 128, a.per_sample = n / 128;
    a.key = {1, 2};
    a.distribution = kernel::Distribution::normal;
    a.dtype = DType::f32;
    return a;
  });
  add<kernel::Cast>(cases, DType::bf16, shape + " from f32", 1.5 * bytes, [n](Buffers& b) {
    return kernel::Cast::Args{b.input({n}, DType::f32), b.output({n}, DType::bf16), n, DType::f32,
                              DType::bf16};
  });
  add<kernel::Fill>(cases, DType::f32, shape, bytes, [n](Buffers& b) {
    return kernel::Fill::Args{b.output({n}, DType::f32), n, 1.5, DType::f32};
  });
}

}  // namespace

void add_memory_cases(std::vector<KernelCase>& cases, const Selection& selection) {
  if (selection.smoke) {
    add_optimizer(cases, "tiny", 1000);
  } else {
    add_optimizer(cases, "cifar10", 35'746'307);
    add_optimizer(cases, "mnist", 1'623'169);
  }
  for (const DType dtype : {DType::bf16, DType::f32}) {
    add_elementwise(cases, dtype, selection.smoke ? Shape{2, 3, 3, 8} : Shape{128, 32, 32, 128});
  }
  if (selection.smoke) {
    add_image_batch(cases, "tiny", {2, 4, 4, 3});
  } else {
    add_image_batch(cases, "cifar10", {128, 32, 32, 3});
    add_image_batch(cases, "mnist", {128, 28, 28, 1});
  }
  add_rest(cases, selection.smoke ? 128 * 5 : 128 * 32 * 32 * 128);
}

}  // namespace ito::bench
