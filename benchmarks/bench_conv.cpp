// Every convolution of a U-Net's training step on the CPU: its three passes, one by one.
//
//   bench_conv --preset mnist --batch 64 --threads 1
//
// prints for each shape how many layers have it, GFLOP/s of the forward pass, of the gradient to
// the input and of the gradient to the weight, and the milliseconds that they take in a step. Rates
// count the products of the definition, 2 pixels taps in out, whatever the algorithm computes, so
// Winograd may pass the multipliers' peak. Upsampling and its convolution count as a 3x3
// convolution of the large image. Times are the shortest of several rounds, of processor time when
// there is one thread.
#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "autograd/ops/random.h"
#include "benchmarks/conv_option.h"
#include "benchmarks/presets.h"
#include "benchmarks/unet_shapes.h"
#include "tensor/kernels/conv_upsample.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"
#include "tensor/version.h"

using namespace ito;
using kernel::Conv2d, kernel::Conv2dInputGrad, kernel::Conv2dWeightGrad, kernel::ConvShape;

namespace {

double seconds_now() {
  timespec t{};
  clock_gettime(num_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class F>
double best_seconds(int rounds, double flops, F f) {
  // Rounds of about 10 ms at 100 GFLOP/s.
  const int repeats = std::max(1, static_cast<int>(1e9 / flops));
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const double begin = seconds_now();
    for (int i = 0; i < repeats; ++i) f();
    best = std::min(best, (seconds_now() - begin) / repeats);
  }
  return best;
}

struct Times {
  double forward = 0.0, input = 0.0, weight = 0.0;  // seconds
};

// unet_shapes() has upsampling by 2 and a 3x3 convolution as the 4x4 convolution at stride 2 whose
// transpose they are.
bool upsamples(const ConvShape& s) { return s.kh == 4; }

double flops_of(const ConvShape& s) {
  if (upsamples(s)) return 2.0 * 9.0 * static_cast<double>(s.n * s.h * s.w * s.in * s.out);
  return 2.0 * static_cast<double>(s.n * s.p * s.q * s.kh * s.kw * s.in * s.out);
}

Times measure(const ConvShape& s, int rounds) {
  Rng rng(1, Purpose::test);
  const Tensor x = randn(rng, {s.n, s.h, s.w, s.in}), w = randn(rng, {s.out, s.kh, s.kw, s.in});
  const Tensor bias = randn(rng, {s.out}), dy = randn(rng, {s.n, s.p, s.q, s.out});
  Tensor y = Tensor::zeros(dy.shape()), dx = Tensor::zeros(x.shape());
  Tensor dw = Tensor::zeros(w.shape());
  Times t;
  const auto best = [&](auto f) { return best_seconds(rounds, flops_of(s), f); };
  constexpr DType dtype = DType::f32;
  if (upsamples(s)) {  // here x is the large image
    const kernel::UpsampleShape u{s.n, s.p, s.q, s.out, s.in};
    using namespace kernel;
    t.forward = best([&] {
      UpsampleConv2d::cpu({dy.raw(), w.raw(), bias.raw(), dx.mutable_raw(), u, dtype});
    });
    t.input = best([&] {
      UpsampleConv2dInputGrad::cpu({x.raw(), w.raw(), y.mutable_raw(), u, dtype});
    });
    t.weight = best([&] {
      UpsampleConv2dWeightGrad::cpu({dy.raw(), x.raw(), dw.mutable_raw(), u, dtype});
    });
    return t;
  }
  t.forward = best([&] {
    Conv2d::cpu({x.raw(), w.raw(), bias.raw(), nullptr, y.mutable_raw(), s, false, dtype});
  });
  t.input = best([&] { Conv2dInputGrad::cpu({dy.raw(), w.raw(), dx.mutable_raw(), s, dtype}); });
  t.weight = best([&] { Conv2dWeightGrad::cpu({x.raw(), dy.raw(), dw.mutable_raw(), s, dtype}); });
  return t;
}

std::string name_of(const ConvShape& s) {
  if (upsamples(s)) return fmt::format("{}x{} 3x3 upsample2x {} > {}", s.h, s.w, s.out, s.in);
  return fmt::format("{}x{} {}x{}{} {} > {}", s.p, s.q, s.kh, s.kw,
                     s.stride == 2 ? " stride 2" : "", s.in, s.out);
}

void run(const std::string& preset, std::int64_t batch, const std::string& filter, int rounds) {
  const UNetConfig config = bench::unet_config(preset);
  fmt::print("{:30} {:>6} {:>27} {:>27}\n{:30} {:>6} {:>9}{:>9}{:>9} {:>9}{:>9}{:>9}\n", "", "",
             "GFLOP/s", "ms in a step", preset, "layers", "forward", "dx", "dw", "forward", "dx",
             "dw");
  Times total;
  for (const auto& [s, count] : bench::unet_shapes(config, batch).convs) {
    const std::string name = name_of(s);
    if (name.find(filter) == std::string::npos) continue;
    const Times t = measure(s, rounds);
    const double gflop = 1e-9 * flops_of(s);
    const double ms = 1e3 * count;
    fmt::print("{:30} {:>6} {:9.0f}{:9.0f}{:9.0f} {:9.2f}{:9.2f}{:9.2f}\n", name, count,
               gflop / t.forward, gflop / t.input, gflop / t.weight, ms * t.forward, ms * t.input,
               ms * t.weight);
    total.forward += ms * t.forward, total.input += ms * t.input, total.weight += ms * t.weight;
  }
  fmt::print("{:30} {:>6} {:>27} {:9.2f}{:9.2f}{:9.2f}\n", "total", "", "", total.forward,
             total.input, total.weight);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Every convolution of a U-Net's training step on the CPU"};
  app.set_version_flag("--version", build::describe("bench_conv"));
  std::string preset = "mnist", filter;
  std::int64_t batch = 64;
  int threads = 0, rounds = 3;
  app.add_option("--preset", preset)
      ->check(CLI::IsMember({"mnist", "cifar10", "tiny"}))
      ->capture_default_str();
  app.add_option("--batch", batch)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("--filter", filter, "only shapes whose name has this in it, such as 'stride 2'");
  bench::add_conv_option(app);
  app.add_option("--threads", threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    if (threads > 0) set_num_threads(threads);
    run(preset, batch, filter, rounds);
  } catch (const Error& e) {
    fmt::print(stderr, "bench_conv: {}\n", e.what());
    return 1;
  }
}
