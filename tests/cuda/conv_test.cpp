// Every rung of the convolutions, under every tile and with the sum over k split, against the CPU's
// kernels in f64.
//
// Inputs are exact in bf16, so the f64 result is the true one and the only errors are those of the
// device's sums and of the last rounding. For each output, with S the sum of the absolute values of
// its K terms, |y - true| <= u |true| + K 2^-22 S: u is half a unit in the last place of what is
// stored; f32 sums lose at most K 2^-24 S in any order, and the tensor cores, which cut bits off
// where others round, four times as much at most.
#include "cuda/conv.h"

#include <array>
#include <functional>

#include "tensor/memory.h"
#include "tests/cuda/rungs.h"

namespace ito {
namespace {

namespace conv = cuda::conv;
using namespace testing;
using kernel::ConvShape;

// Images n h w in, kernel kh kw, zeros around (top, left, bottom, right).
ConvShape shape_of(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t in,
                   std::int64_t out, std::int64_t kh, std::int64_t kw, std::int64_t stride,
                   std::array<std::int64_t, 4> pad) {
  return {n,
          h,
          w,
          in,
          (h + pad[0] + pad[2] - kh) / stride + 1,
          (w + pad[1] + pad[3] - kw) / stride + 1,
          out,
          kh,
          kw,
          stride,
          pad[0],
          pad[1]};
}

Values magnitudes(Values values) {
  for (double& v : values) v = std::abs(v);
  return values;
}

// One of the three passes: inputs in the order of its Args (for the forward pass x, weight, bias,
// addend), its size, and the length of its sums.
struct Pass {
  const char* name;
  std::vector<Values> inputs;
  std::int64_t size, terms;
  std::function<void(const std::vector<const void*>&, void* y, DType)> cpu;
};

enum class Extra { none, bias, per_pixel, per_image };

Pass forward(const ConvShape& s, Extra extra = Extra::bias) {
  const std::int64_t size = s.n * s.p * s.q * s.out;
  Pass pass{
      "forward",
      {random_values(s.n * s.h * s.w * s.in, 1), random_values(s.out * s.kh * s.kw * s.in, 2)},
      size,
      s.kh * s.kw * s.in + 2,
      [=](const auto& in, void* y, DType dtype) {
        kernel::Conv2d::cpu({in[0], in[1], in.size() > 2 ? in[2] : nullptr,
                             in.size() > 3 ? in[3] : nullptr, y, s, extra == Extra::per_image,
                             dtype});
      }};
  if (extra != Extra::none) pass.inputs.push_back(random_values(s.out, 3));
  if (extra == Extra::per_pixel) pass.inputs.push_back(random_values(size, 4));
  if (extra == Extra::per_image) pass.inputs.push_back(random_values(s.n * s.out, 4));
  return pass;
}

Pass input_grad(const ConvShape& s) {
  return {"input gradient",
          {random_values(s.n * s.p * s.q * s.out, 5), random_values(s.out * s.kh * s.kw * s.in, 6)},
          s.n * s.h * s.w * s.in,
          s.kh * s.kw * s.out,
          [=](const auto& in, void* y, DType dtype) {
            kernel::Conv2dInputGrad::cpu({in[0], in[1], y, s, dtype});
          }};
}

Pass weight_grad(const ConvShape& s) {
  return {"weight gradient",
          {random_values(s.n * s.h * s.w * s.in, 7), random_values(s.n * s.p * s.q * s.out, 8)},
          s.out * s.kh * s.kw * s.in,
          s.n * s.p * s.q,
          [=](const auto& in, void* y, DType dtype) {
            kernel::Conv2dWeightGrad::cpu({in[0], in[1], y, s, dtype});
          }};
}

Values on_cpu(const Pass& pass, const std::vector<Values>& inputs) {
  std::vector<const void*> pointers;
  for (const Values& v : inputs) pointers.push_back(v.data());
  Values y(static_cast<std::size_t>(pass.size));
  pass.cpu(pointers, y.data(), DType::f64);
  return y;
}

using Rung = std::function<void(const std::vector<const void*>&, void* y, DType)>;

struct Result {
  Values values;
  std::vector<unsigned char> bits;
};

Result run(const Pass& pass, const Rung& rung, DType dtype, std::int64_t offset = 0) {
  std::vector<Tensor> inputs;
  std::vector<const void*> pointers;
  for (const Values& v : pass.inputs) {
    inputs.push_back(on_device(v, dtype, offset));
    pointers.push_back(inputs.back().raw());
  }
  Tensor y = on_device(Values(static_cast<std::size_t>(pass.size), std::nan("")), dtype, offset);
  rung(pointers, y.mutable_raw(), dtype);
  const Tensor host = y.to(Device::cpu());
  const auto* first = static_cast<const unsigned char*>(host.raw());
  return {on_host(y), {first, first + host.bytes()}};
}

// What is wrong with a rung's result, or nothing.
std::string difference(const Pass& pass, const Rung& rung, DType dtype, std::int64_t offset = 0) {
  const Values wanted = on_cpu(pass, pass.inputs);
  std::vector<Values> absolute;
  for (const Values& v : pass.inputs) absolute.push_back(magnitudes(v));
  const Values scale = on_cpu(pass, absolute);
  const Values got = run(pass, rung, dtype, offset).values;
  const double rounding = std::ldexp(1.0, dtype == DType::f32 ? -24 : -8);
  const double sum_error = static_cast<double>(pass.terms) * std::ldexp(1.0, -22);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double bound = rounding * std::abs(wanted[i]) + sum_error * scale[i];
    if (std::abs(got[i] - wanted[i]) <= bound) continue;
    return fmt::format("{} {}: element {} of {} must be {}; got {}", pass.name, name_of(dtype), i,
                       wanted.size(), wanted[i], got[i]);
  }
  return "";
}

void check_rung(const Pass& pass, const std::string& what, const Rung& rung, DType dtype,
                std::int64_t offset = 0) {
  CAPTURE(what);
  CHECK(difference(pass, rung, dtype, offset) == "");
}

enum class Which { naive, tiled, tensor_core };

template <class Args>
void call(Which which, const Args& args, conv::Partition partition) {
  if (which == Which::naive) conv::naive(args);
  if (which == Which::tiled) conv::tiled(args, partition);
  if (which == Which::tensor_core) conv::tensor_core(args, partition);
}

Rung rung_of(const Pass& pass, const ConvShape& s, Which which, conv::Partition partition = {},
             bool per_image = false) {
  const std::string name = pass.name;
  return [=](const std::vector<const void*>& in, void* y, DType dtype) {
    if (name == "forward") {
      call(which,
           kernel::Conv2d::Args{in[0], in[1], in.size() > 2 ? in[2] : nullptr,
                                in.size() > 3 ? in[3] : nullptr, y, s, per_image, dtype},
           partition);
    } else if (name == "input gradient") {
      call(which, kernel::Conv2dInputGrad::Args{in[0], in[1], y, s, dtype}, partition);
    } else {
      call(which, kernel::Conv2dWeightGrad::Args{in[0], in[1], y, s, dtype}, partition);
    }
  };
}

std::string text(const conv::Partition& partition) {
  return fmt::format("tiles {} x {}, {} splits", partition.m, partition.n, partition.splits);
}

struct Case {
  const char* name;
  ConvShape shape;
};

// Channels of 1, 3, 5 and 12; sizes that no tile divides; stride 2 as in the U-Nets (zeros below
// and to the right); padding that differs on all sides; kernels of 1x1 and 5x3; a stride that
// leaves rows over and one larger than the kernel.
std::vector<Case> cases() {
  return {
      {"3x3 on 7x7", shape_of(2, 7, 7, 16, 24, 3, 3, 1, {1, 1, 1, 1})},
      {"3x3 on 4x4", shape_of(3, 4, 4, 40, 8, 3, 3, 1, {1, 1, 1, 1})},
      {"one image, 3 channels", shape_of(1, 9, 5, 3, 20, 3, 3, 1, {1, 1, 1, 1})},
      {"to 3 channels", shape_of(2, 6, 6, 24, 3, 3, 3, 1, {1, 1, 1, 1})},
      {"to 1 channel", shape_of(1, 5, 6, 8, 1, 3, 3, 1, {1, 1, 1, 1})},
      {"5 to 12 channels", shape_of(2, 5, 4, 5, 12, 3, 3, 1, {1, 1, 1, 1})},
      {"stride 2, zeros below and right", shape_of(2, 8, 8, 16, 16, 3, 3, 2, {0, 0, 1, 1})},
      {"stride 2 on 7x7", shape_of(2, 7, 7, 8, 12, 3, 3, 2, {0, 0, 1, 1})},
      {"uneven padding, 5x3", shape_of(1, 6, 7, 8, 9, 5, 3, 1, {3, 0, 1, 2})},
      {"padding beyond the kernel", shape_of(1, 2, 2, 8, 8, 4, 1, 1, {4, 1, 0, 1})},
      {"1x1", shape_of(2, 5, 7, 48, 32, 1, 1, 1, {0, 0, 0, 0})},
      {"1x1, stride 3", shape_of(1, 7, 8, 8, 8, 1, 1, 3, {0, 0, 0, 0})},
      {"2x15, the widest", shape_of(1, 2, 16, 8, 8, 2, 15, 1, {1, 7, 0, 7})},
      {"2x2, stride 3", shape_of(2, 6, 7, 10, 4, 2, 2, 3, {1, 1, 1, 1})},
  };
}

// Several tiles of every size in both directions, none of them full at the end.
ConvShape several_tiles() { return shape_of(1, 13, 11, 24, 132, 3, 3, 1, {1, 1, 1, 1}); }

std::vector<Pass> passes(const ConvShape& s) { return {forward(s), input_grad(s), weight_grad(s)}; }

std::span<const conv::Partition> partitions(const Pass& pass, Which which) {
  if (which == Which::tiled) return conv::tiled_partitions();
  return std::string(pass.name) == "weight gradient" ? conv::tensor_core_weight_grad_partitions()
                                                     : conv::tensor_core_partitions();
}

}  // namespace

TEST_CASE("Convolutions of every rung on small and odd shapes equal the CPU's in f64") {
  if (!testing::device_answers()) return;
  for (const Case& c : cases()) {
    for (const Pass& pass : passes(c.shape)) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const Which which : {Which::naive, Which::tiled, Which::tensor_core}) {
          if (which == Which::tensor_core && dtype != DType::bf16) continue;
          check_rung(pass, fmt::format("{}, rung {}", c.name, static_cast<int>(which)),
                     rung_of(pass, c.shape, which), dtype);
        }
      }
    }
  }
}

TEST_CASE("Convolutions agree under every tile and number of splits") {
  if (!testing::device_answers()) return;
  for (const ConvShape& s : {several_tiles(), cases()[5].shape, cases()[6].shape}) {
    for (const Pass& pass : passes(s)) {
      for (const Which which : {Which::tiled, Which::tensor_core}) {
        for (conv::Partition partition : partitions(pass, which)) {
          for (const int splits : {1, 3}) {
            partition.splits = splits;
            check_rung(pass, text(partition), rung_of(pass, s, which, partition),
                       which == Which::tiled ? DType::f32 : DType::bf16);
          }
        }
      }
    }
  }
}

TEST_CASE("More splits than blocks to sum leave the empty ones zero") {
  if (!testing::device_answers()) return;
  const ConvShape s = cases()[10].shape;
  for (const Pass& pass : passes(s)) {
    for (const Which which : {Which::tiled, Which::tensor_core}) {
      conv::Partition partition = partitions(pass, which)[1];
      partition.splits = 23;
      check_rung(pass, text(partition), rung_of(pass, s, which, partition), DType::bf16);
    }
  }
}

TEST_CASE("Bias and addend, per pixel and per image, are added by every rung") {
  if (!testing::device_answers()) return;
  for (const std::int64_t out : {16, 9}) {
    const ConvShape s = shape_of(3, 4, 5, 8, out, 3, 3, 1, {1, 1, 1, 1});
    for (const Extra extra : {Extra::none, Extra::bias, Extra::per_pixel, Extra::per_image}) {
      const Pass pass = forward(s, extra);
      for (const Which which : {Which::naive, Which::tiled, Which::tensor_core}) {
        for (const int splits : {1, 2}) {
          if (which == Which::naive && splits > 1) continue;
          check_rung(pass, fmt::format("rung {}, {} splits", static_cast<int>(which), splits),
                     rung_of(pass, s, which, {0, 0, splits}, extra == Extra::per_image),
                     DType::bf16);
        }
      }
    }
  }
}

TEST_CASE("Two images side by side are read as their concatenation, by every rung") {
  if (!testing::device_answers()) return;
  // 40 = 24 + 16 channels in slabs of 32; 13 = 8 + 5 must be put side by side first.
  for (const auto& [in, second] : {std::pair<std::int64_t, std::int64_t>{40, 16}, {13, 5}}) {
    const ConvShape s = shape_of(2, 5, 4, in, 12, 3, 3, 1, {1, 1, 1, 1});
    const Pass whole = forward(s);
    Pass pass = whole;  // the same images as two inputs: behind the bias
    Values first, behind;
    for (std::size_t i = 0; i < whole.inputs[0].size(); ++i) {
      const auto channel = static_cast<std::int64_t>(i) % in;
      (channel < in - second ? first : behind).push_back(whole.inputs[0][i]);
    }
    pass.inputs[0] = first;
    pass.inputs.push_back(behind);
    const Values wanted = on_cpu(whole, whole.inputs);
    for (const Which which : {Which::naive, Which::tiled, Which::tensor_core}) {
      const Rung rung = [&](const std::vector<const void*>& x, void* y, DType dtype) {
        call(which,
             kernel::Conv2d::Args{x[0], x[1], x[2], nullptr, y, s, false, dtype, x[3], second}, {});
      };
      const Values got = run(pass, rung, DType::bf16).values;
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        REQUIRE(got[i] == doctest::Approx(wanted[i]).epsilon(std::ldexp(1.0, -8)));
      }
    }
  }
}

TEST_CASE("Convolutions of arrays that begin at any element") {
  if (!testing::device_answers()) return;
  const ConvShape s = shape_of(2, 5, 5, 16, 8, 3, 3, 1, {1, 1, 1, 1});
  for (const Pass& pass : passes(s)) {
    for (const std::int64_t offset : {1, 4}) {
      check_rung(pass, "tiled", rung_of(pass, s, Which::tiled), DType::f32, offset);
      check_rung(pass, "tensor core", rung_of(pass, s, Which::tensor_core), DType::bf16, offset);
    }
  }
}

TEST_CASE("The same convolution twice gives the same bits, in any order of threads and blocks") {
  if (!testing::device_answers()) return;
  const ConvShape s = shape_of(1, 9, 9, 16, 72, 3, 3, 1, {1, 1, 1, 1});
  for (const Pass& pass : passes(s)) {
    for (const Which which : {Which::tiled, Which::tensor_core}) {
      const Rung rung = rung_of(pass, s, which, {64, 64, 2});
      const DType dtype = which == Which::tiled ? DType::f32 : DType::bf16;
      const Result first = run(pass, rung, dtype);
      for_each_order([&] { CHECK(run(pass, rung, dtype).bits == first.bits); });
    }
  }
}

TEST_CASE("Kernels too large for the tiles are computed by the naive rung") {
  if (!testing::device_answers()) return;
  const ConvShape s = shape_of(1, 3, 20, 2, 2, 1, 16, 1, {0, 8, 0, 7});
  CHECK_FALSE(conv::can_use_tiles(s));
  const Pass pass = forward(s);
  check_rung(
      pass, "best",
      [&](const auto& in, void* y, DType dtype) {
        kernel::Conv2d::cuda({in[0], in[1], in[2], nullptr, y, s, false, dtype});
      },
      DType::f32);
}

TEST_CASE("The comparison sees one input changed by 1/64, in every pass") {
  if (!testing::device_answers()) return;
  const ConvShape s = cases()[0].shape;
  for (const Pass& pass : passes(s)) {
    for (std::size_t input = 0; input < 2; ++input) {
      Pass changed = pass;
      double& v = changed.inputs[input][changed.inputs[input].size() / 2];
      v += v > 0 ? -1.0 / 64 : 1.0 / 64;
      const Values values = run(changed, rung_of(pass, s, Which::tiled), DType::f32).values;
      const Rung wrong = [&](const auto&, void* y, DType) {
        Tensor there = on_device(values, DType::f32);
        memory::copy(Device::cuda(), y, Device::cuda(), there.raw(), there.bytes());
      };
      CHECK(difference(pass, wrong, DType::f32) != "");
    }
  }
}

TEST_CASE("A tile that no kernel has, and a dtype that no kernel takes, are refused") {
  if (!testing::device_answers()) return;
  const ConvShape s = cases()[0].shape;
  const Pass pass = forward(s);
  CHECK_THROWS_AS(run(pass, rung_of(pass, s, Which::tiled, {100, 100, 1}), DType::f32), ValueError);
  CHECK_THROWS_AS(run(pass, rung_of(pass, s, Which::tensor_core), DType::f32), DTypeError);
}

}  // namespace ito
