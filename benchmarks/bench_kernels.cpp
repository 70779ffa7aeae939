// Time of every kernel of the device on the shapes of the presets, beside the roofline: the time
// that its arithmetic takes at the rate of a large matrix product, or that its bytes take at the
// rate of a large copy, whichever is longer. Both rates are measured first.
//
//   bench_kernels --filter='conv2d/.*/bf16/cifar10 32x32'
//   bench_kernels --json kernels.json && benchmarks/plot_kernels.py kernels.json kernels.svg
//
// A time is the median over launches that each begin with an L2 cache full of something else,
// between two events on the stream; inputs rotate and are random. Counters: roofline (share
// reached, 1 is the limit), TFLOP/s or GB/s, launches, and per_step, the times a training step runs
// the kernel. Names are kernel/rung/dtype/shape; the rung "best" is what the library uses.
// docs/kernels.md explains more.
#include <benchmark/benchmark.h>
#include <cuda_runtime.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "benchmarks/kernel_cases.h"
#include "cuda/runtime.h"
#include "tensor/build.h"
#include "tensor/kernels/matmul.h"
#include "tensor/memory.h"
#include "tensor/version.h"

using namespace ito;
using bench::KernelCase;

namespace {

struct Options {
  bench::Selection selection;
  std::string filter, json;
  double seconds = 0.1;  // of the device, about, for each benchmark
  double limit = 0.0;    // of all benchmarks together; 0: none
  double copy_gb = 0, f32_tflop = 0, bf16_tflop = 0;
};

/// Times work on the device.
class Stopwatch {
 public:
  explicit Stopwatch(bool smoke)
      : flush_(
            Tensor::empty({smoke ? 1 << 10 : std::int64_t{256} << 20}, DType::u8, Device::cuda())),
        max_runs_(smoke ? 1 : 100) {
    cuda::check(cudaEventCreate(&begin_), "cudaEventCreate");
    cuda::check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  /// Seconds of one call. Writing more than any L2 cache holds comes first; while the device does
  /// that, the host queues the call, so that the time of launching is not measured.
  double once(const bench::Call& call, int i) {
    cuda::check(cudaMemsetAsync(flush_.mutable_raw(), i & 0xff, flush_.bytes(), cuda::stream()),
                "cudaMemsetAsync");
    cuda::check(cudaEventRecord(begin_, cuda::stream()), "cudaEventRecord");
    call(i);
    cuda::check(cudaEventRecord(end_, cuda::stream()), "cudaEventRecord");
    cuda::synchronize();
    float milliseconds = 0.0f;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  struct Result {
    double median, fastest;
    int launches;
  };
  /// A call or two to warm up, then 3 to 100 calls for about `budget` seconds; one call when it
  /// takes longer than that.
  Result repeated(const bench::Call& call, double budget) {
    const bool slow = once(call, 0) > budget;
    if (!slow && max_runs_ > 1) once(call, 1);
    std::vector<double> times;
    double total = 0.0;
    const int least = slow ? 1 : std::min(3, max_runs_);
    for (int i = 0; i < max_runs_ && (i < least || total < budget); ++i) {
      times.push_back(once(call, i));
      total += times.back() + 1e-4;  // the cache is filled, too
    }
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times[0], static_cast<int>(times.size())};
  }

 private:
  Tensor flush_;
  int max_runs_;
  cudaEvent_t begin_, end_;
};

/// What this device reached in a large copy and in large matrix products.
struct Machine {
  double copy_bytes, f32_flops, bf16_flops;  // per second
  double flops(DType dtype) const { return dtype == DType::bf16 ? bf16_flops : f32_flops; }
  /// The least seconds for a kernel.
  double floor(const KernelCase& c) const {
    return std::max(c.flops / flops(c.dtype), c.bytes / copy_bytes);
  }
};

double measure_copy(Stopwatch& watch, bool smoke) {
  const std::int64_t bytes = smoke ? 1 << 12 : std::int64_t{1} << 30;
  bench::Buffers buffers;
  const void* from = buffers.input({bytes / 4}, DType::f32);
  void* to = buffers.output({bytes / 4}, DType::f32);
  const auto copy = [&](int) {
    cuda::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                                cuda::stream()),
                "cudaMemcpyAsync");
  };
  return 2.0 * static_cast<double>(bytes) / watch.repeated(copy, 0.1).median;
}

double measure_product(Stopwatch& watch, DType dtype, bool smoke) {
  const std::int64_t n = smoke ? 16 : dtype == DType::bf16 ? 8192 : 4096;
  bench::Buffers buffers;
  kernel::Matmul::Args a{};
  a.a = buffers.input({n, n}, dtype);
  a.b = buffers.input({n, n}, dtype);
  a.y = buffers.output({n, n}, dtype);
  a.batch = 1;
  a.m = a.n = a.k = n;
  a.dtype = dtype;
  const double seconds = watch.repeated([&](int) { kernel::Matmul::cuda(a); }, 0.1).median;
  return 2.0 * static_cast<double>(n) * static_cast<double>(n * n) / seconds;
}

Machine measure_machine(Stopwatch& watch, const Options& o) {
  const bool smoke = o.selection.smoke;
  return {o.copy_gb > 0 ? 1e9 * o.copy_gb : measure_copy(watch, smoke),
          o.f32_tflop > 0 ? 1e12 * o.f32_tflop : measure_product(watch, DType::f32, smoke),
          o.bf16_tflop > 0 ? 1e12 * o.bf16_tflop : measure_product(watch, DType::bf16, smoke)};
}

void describe(const Machine& machine, Stopwatch& watch) {
  const double empty = watch.repeated([](int) {}, 0.01).median;
  std::string device = "emulated device: it computes the same, but TIMES ARE MEANINGLESS";
  if constexpr (!build::emulated) {
    cudaDeviceProp properties{};
    cuda::check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    device = properties.name;
  }
  const std::string text = fmt::format(
      "copy {:.0f} GB/s, products f32 {:.1f} TFLOP/s, bf16 {:.1f} TFLOP/s; two events with nothing "
      "between them: {:.1f} us",
      1e-9 * machine.copy_bytes, 1e-12 * machine.f32_flops, 1e-12 * machine.bf16_flops,
      1e6 * empty);
  fmt::print("{}: {}\n", device, text);
  std::fflush(stdout);
  benchmark::AddCustomContext("device", device);
  benchmark::AddCustomContext("copy_gb_per_s", fmt::format("{:.1f}", 1e-9 * machine.copy_bytes));
  benchmark::AddCustomContext("f32_tflop_per_s", fmt::format("{:.2f}", 1e-12 * machine.f32_flops));
  benchmark::AddCustomContext("bf16_tflop_per_s",
                              fmt::format("{:.2f}", 1e-12 * machine.bf16_flops));
}

void run(benchmark::State& state, const KernelCase& c, const Machine& machine, Stopwatch& watch,
         const Options& options) {
  static const auto begin = std::chrono::steady_clock::now();
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - begin;
  if (options.limit > 0.0 && since.count() > options.limit) {
    state.SkipWithError("no time left");
    return;
  }
  for (auto _ : state) {
    memory::empty_cache(Device::cuda());  // the last case had other sizes
    // As many sets as stay below a gigabyte, at most three.
    const int sets = c.bytes > 5e8 ? 1 : c.bytes > 3e8 ? 2 : 3;
    const bench::Call call = c.prepare(sets);
    if (!call) {
      state.SkipWithError("this rung does not take the shape");
      return;
    }
    const Stopwatch::Result r = watch.repeated(call, options.seconds);
    state.SetIterationTime(r.median);
    if (c.flops > 0.0) state.counters["TFLOP/s"] = 1e-12 * c.flops / r.median;
    state.counters["GB/s"] = 1e-9 * c.bytes / r.median;
    state.counters["roofline"] = machine.floor(c) / r.median;
    state.counters["floor_us"] = 1e6 * machine.floor(c);
    state.counters["fastest_us"] = 1e6 * r.fastest;
    state.counters["launches"] = r.launches;
    if (c.per_step > 0) state.counters["per_step"] = c.per_step;
  }
}

void add_flags(CLI::App& app, Options& o) {
  app.add_option("--filter", o.filter, "only names that match this regular expression");
  app.add_option("--json", o.json, "also write the results to this file");
  app.add_option("--seconds", o.seconds, "device time for each benchmark, about")
      ->check(CLI::Range(0.0, 1e3))
      ->capture_default_str();
  app.add_option("--limit", o.limit, "seconds after which no further benchmark starts; 0: no limit")
      ->check(CLI::Range(0.0, 1e6));
  app.add_flag("--sweep", o.selection.sweep, "also every way to cut the convolutions' products");
  app.add_flag("--smoke", o.selection.smoke, "tiny shapes, one launch: only to see that all runs");
  app.add_option("--copy-gb", o.copy_gb, "GB/s of a copy, instead of measuring it");
  app.add_option("--f32-tflop", o.f32_tflop, "TFLOP/s of f32 products, instead of measuring");
  app.add_option("--bf16-tflop", o.bf16_tflop, "TFLOP/s of bf16 products, instead of measuring");
}

// Google Benchmark's own flags, from ours.
void initialize(const Options& o) {
  static std::vector<std::string> flags;  // Google Benchmark keeps pointers into it
  flags = {"bench_kernels", "--benchmark_counters_tabular=true"};
  if (!o.filter.empty()) flags.push_back("--benchmark_filter=" + o.filter);
  if (!o.json.empty()) {
    flags.push_back("--benchmark_out=" + o.json);
    flags.push_back("--benchmark_out_format=json");
  }
  std::vector<char*> pointers;
  for (std::string& flag : flags) pointers.push_back(flag.data());
  int count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times of the device's kernels beside the roofline"};
  app.set_version_flag("--version", build::describe("bench_kernels"));
  Options options;
  add_flags(app, options);
  CLI11_PARSE(app, argc, argv);
  if (!available(Device::cuda())) {
    fmt::print(stderr, "bench_kernels: {}\n", why_unavailable(Device::cuda()));
    return 77;
  }
  try {
    initialize(options);
    Stopwatch watch(options.selection.smoke);
    const Machine machine = measure_machine(watch, options);
    describe(machine, watch);
    std::vector<KernelCase> cases = bench::kernel_cases(options.selection);
    // What is most worth knowing comes first: what the library uses, then the other rungs.
    std::stable_partition(cases.begin(), cases.end(),
                          [](const KernelCase& c) { return c.rung == "best"; });
    for (KernelCase& c : cases) {
      const std::string name = c.name();
      benchmark::RegisterBenchmark(
          name.c_str(), [c = std::move(c), &machine, &watch, &options](
                            benchmark::State& state) { run(state, c, machine, watch, options); })
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kMicrosecond);
    }
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_kernels: {}\n", e.what());
    return 1;
  }
}
