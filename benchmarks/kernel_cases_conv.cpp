// Convolutions in their three passes, every rung of their ladder, and for comparison the same
// matrix product by cuBLAS: of a matrix that is there already, so without the gathering that a
// convolution does.
#include <fmt/format.h>

#include <algorithm>

#include "benchmarks/kernel_cases.h"
#include "benchmarks/unet_shapes.h"
#include "cuda/conv.h"
#include "tensor/kernels/matmul.h"

namespace ito::bench {
namespace {

using cuda::conv::Partition;
using kernel::Conv2d, kernel::Conv2dInputGrad, kernel::Conv2dWeightGrad, kernel::ConvShape;

double elements_x(const ConvShape& s) { return double(s.n) * double(s.h * s.w * s.in); }
double elements_y(const ConvShape& s) { return double(s.n) * double(s.p * s.q * s.out); }
double elements_w(const ConvShape& s) { return double(s.out * s.kh * s.kw * s.in); }
double flops(const ConvShape& s) { return 2.0 * elements_y(s) * double(s.kh * s.kw * s.in); }

Shape shape_x(const ConvShape& s) { return {s.n, s.h, s.w, s.in}; }
Shape shape_y(const ConvShape& s) { return {s.n, s.p, s.q, s.out}; }
Shape shape_w(const ConvShape& s) { return {s.out, s.kh, s.kw, s.in}; }

Conv2d::Args forward_args(Buffers& b, const ConvShape& s, DType dtype) {
  Conv2d::Args a{};
  a.x = b.input(shape_x(s), dtype);
  a.weight = b.input(shape_w(s), dtype);
  a.bias = b.input({s.out}, dtype);
  a.y = b.output(shape_y(s), dtype);
  a.shape = s;
  a.dtype = dtype;
  return a;
}
Conv2dInputGrad::Args input_grad_args(Buffers& b, const ConvShape& s, DType dtype) {
  Conv2dInputGrad::Args a{};
  a.dy = b.input(shape_y(s), dtype);
  a.weight = b.input(shape_w(s), dtype);
  a.dx = b.output(shape_x(s), dtype);
  a.shape = s;
  a.dtype = dtype;
  return a;
}
Conv2dWeightGrad::Args weight_grad_args(Buffers& b, const ConvShape& s, DType dtype) {
  Conv2dWeightGrad::Args a{};
  a.x = b.input(shape_x(s), dtype);
  a.dy = b.input(shape_y(s), dtype);
  a.dweight = b.output(shape_w(s), dtype);
  a.shape = s;
  a.dtype = dtype;
  return a;
}

// y [m, n] = op(a) op(b), each [rows, columns] as it lies in memory.
struct Product {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
  double flops() const { return 2.0 * double(m) * double(n) * double(k); }
  double elements() const {
    return double(m) * double(k) + double(k) * double(n) + double(m) * double(n);
  }
};

std::function<Call(int)> product(const Product& p, DType dtype) {
  using Args = kernel::Matmul::Args;
  return rotating<Args>(
      [p, dtype](Buffers& b) {
        Args a{};
        a.a = b.input(p.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, dtype);
        a.b = b.input(p.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, dtype);
        a.y = b.output({p.m, p.n}, dtype);
        a.batch = 1;
        a.m = p.m, a.n = p.n, a.k = p.k;
        a.transpose_a = p.transpose_a, a.transpose_b = p.transpose_b;
        a.dtype = dtype;
        return a;
      },
      kernel::Matmul::cuda);
}

Product forward_product(std::int64_t pixels, std::int64_t taps_in, std::int64_t out) {
  return {pixels, out, taps_in, false, true};
}
Product weight_product(std::int64_t pixels, std::int64_t taps_in, std::int64_t out) {
  return {out, taps_in, pixels, true, false};
}

// One pass of one convolution: adds its rungs.
template <class Args>
struct Pass {
  std::vector<KernelCase>& cases;
  KernelCase base;  // all but rung and prepare
  std::function<Args(Buffers&)> make;

  void rung(const std::string& name, std::function<void(const Args&)> run) {
    KernelCase c = base;
    c.rung = name;
    c.prepare =
        rotating<Args>(make, run, [](const Args& a) { return cuda::conv::can_use_tiles(a.shape); });
    cases.push_back(std::move(c));
  }
  void ladder(const Product& same, const Selection& selection,
              std::span<const Partition> partitions) {
    rung("naive", [](const Args& a) { cuda::conv::naive(a); });
    rung("tiled", [](const Args& a) { cuda::conv::tiled(a); });
    if (base.dtype == DType::bf16) {
      rung("tensor_core", [](const Args& a) { cuda::conv::tensor_core(a); });
      if (selection.sweep) {
        for (const Partition& tile : partitions) {
          for (const int splits : {1, 2, 4, 8, 16}) {
            const Partition partition{tile.m, tile.n, splits};
            rung(fmt::format("tensor_core:{}x{}:{}", partition.m, partition.n, partition.splits),
                 [partition](const Args& a) { cuda::conv::tensor_core(a, partition); });
          }
        }
      }
    }
    KernelCase c = base;
    c.rung = "cublas";
    c.flops = same.flops();
    c.bytes = same.elements() * static_cast<double>(size_of(base.dtype));
    c.prepare = product(same, base.dtype);
    cases.push_back(std::move(c));
  }
};

void add_conv(std::vector<KernelCase>& cases, const std::string& preset,
              const Counted<ConvShape>& conv, DType dtype, bool ladder,
              const Selection& selection) {
  const ConvShape& s = conv.shape;
  const std::int64_t taps = s.kh * s.kw;
  const double bytes =
      static_cast<double>(size_of(dtype)) * (elements_x(s) + elements_y(s) + elements_w(s));
  const std::string shape = fmt::format("{} {}x{} {}x{}{} {}>{}", preset, s.p, s.q, s.kh, s.kw,
                                        s.kh == 4       ? " of upsampling"
                                        : s.stride == 1 ? ""
                                                        : " stride 2",
                                        s.in, s.out);
  const auto base = [&](const char* kernel) {
    return KernelCase{kernel, "best", dtype, shape, flops(s), bytes, conv.count, nullptr};
  };

  Pass<Conv2d::Args> forward{cases, base("conv2d"),
                             [s, dtype](Buffers& b) { return forward_args(b, s, dtype); }};
  forward.rung("best", Conv2d::cuda);
  if (ladder)
    forward.ladder(forward_product(s.n * s.p * s.q, taps * s.in, s.out), selection,
                   cuda::conv::tensor_core_partitions());
  if (s.in > 3) {  // the image itself needs no gradient
    Pass<Conv2dInputGrad::Args> input{cases, base("conv2d_input_grad"), [s, dtype](Buffers& b) {
                                        return input_grad_args(b, s, dtype);
                                      }};
    input.rung("best", Conv2dInputGrad::cuda);
    if (ladder)
      input.ladder(forward_product(s.n * s.h * s.w, taps * s.out / (s.stride * s.stride), s.in),
                   selection, cuda::conv::tensor_core_partitions());
  }
  Pass<Conv2dWeightGrad::Args> weight{cases, base("conv2d_weight_grad"), [s, dtype](Buffers& b) {
                                        return weight_grad_args(b, s, dtype);
                                      }};
  weight.rung("best", Conv2dWeightGrad::cuda);
  if (ladder)
    weight.ladder(weight_product(s.n * s.p * s.q, taps * s.in, s.out), selection,
                  cuda::conv::tensor_core_weight_grad_partitions());
}

}  // namespace

void add_conv_cases(std::vector<KernelCase>& cases, const std::string& preset,
                    const UNetShapes& shapes, const Selection& selection) {
  double total = 0.0;
  for (const Counted<ConvShape>& c : shapes.convs) total += c.count * flops(c.shape);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    for (const Counted<ConvShape>& c : shapes.convs) {
      // The ladder where 4 % of the network's work is; smoke tests take it everywhere.
      const bool ladder = selection.smoke || c.count * flops(c.shape) > 0.04 * total;
      add_conv(cases, preset, c, dtype, ladder, selection);
    }
    for (const Counted<LinearShape>& l : shapes.linears) {
      const auto [m, n, k] = l.shape;
      const std::string shape = fmt::format("{} {}x{}x{}", preset, m, n, k);
      const auto add = [&](const char* kernel, const Product& p) {
        cases.push_back({kernel, "best", dtype, shape, p.flops(),
                         p.elements() * static_cast<double>(size_of(dtype)), l.count,
                         product(p, dtype)});
      };
      add("linear", forward_product(m, k, n));
      add("linear_input_grad", {m, k, n, false, false});
      add("linear_weight_grad", weight_product(m, k, n));
    }
  }
}

}  // namespace ito::bench
