// One benchmark per entry of the op table (tests/ops): forward, and forward with backward, in f32.
//
//   bench_ops --benchmark_filter='conv2d.*'
//
// The counters are GB/s (inputs and output once each), GFLOP/s, and for both the share of what this
// machine reached in the two measurements printed first: copying, and multiply-adds in registers. A
// kernel is good when one of the two shares is high.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <string_view>

#include "autograd/engine.h"
#include "benchmarks/machine.h"
#include "tensor/parallel.h"
#include "tensor/version.h"
#include "tests/ops/op_case.h"

using namespace ito;
using bench::Machine;

namespace {

double bytes_of(const optable::Tensors& tensors) {
  double total = 0.0;
  for (const Tensor& t : tensors) total += t.defined() ? static_cast<double>(t.bytes()) : 0.0;
  return total;
}

// Runs the body of a benchmark and reports its rates.
template <class F>
void run(benchmark::State& state, const Machine& machine, double flops, double bytes, F body) {
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) body();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  const double per_second = static_cast<double>(state.iterations()) / time.count();
  state.counters["GB/s"] = 1e-9 * bytes * per_second;
  state.counters["of_copy"] = bytes * per_second / machine.copy_bytes;
  if (flops == 0.0) return;
  state.counters["GFLOP/s"] = 1e-9 * flops * per_second;
  state.counters["of_fma"] = flops * per_second / machine.fma_flops;
}

void forward(benchmark::State& state, const optable::OpCase& row, const optable::Benchmark& b,
             const Machine& machine) {
  optable::Tensors inputs = optable::make_inputs(row, b.shapes, DType::f32);
  for (Tensor& t : inputs) t = detach(t);
  double bytes = b.bytes;
  if (bytes == 0.0) bytes = bytes_of(inputs) + bytes_of({row.op(inputs)});
  run(state, machine, b.flops, bytes, [&] { benchmark::DoNotOptimize(row.op(inputs)); });
}

void forward_and_backward(benchmark::State& state, const optable::OpCase& row,
                          const optable::Benchmark& b, const Machine& machine) {
  const optable::Tensors inputs = optable::make_inputs(row, b.shapes, DType::f32);
  optable::Tensors wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (row.inputs[i].kind == optable::Input::Kind::differentiable) wanted.push_back(inputs[i]);
  }
  const Tensor y = detach(row.op(inputs));
  const Tensor dy = Tensor::full(y.shape(), 1.0);
  run(state, machine, 3.0 * b.flops, 3.0 * (bytes_of(inputs) + bytes_of({y})),
      [&] { benchmark::DoNotOptimize(grad(row.op(inputs), wanted, {}, dy)); });
}

std::string label(const optable::OpCase& row, const optable::Benchmark& b) {
  std::string text = row.name;
  for (const Shape& s : b.shapes) text += fmt::format(" {}", s.str());
  return text;
}

void add_benchmarks(const Machine& machine) {
  for (const optable::OpCase& row : optable::op_table()) {
    for (const optable::Benchmark& b : row.benchmarks) {
      const auto add = [&](const std::string& name, auto make) {
        benchmark::RegisterBenchmark(
            name.c_str(),
            [make, &row, &b, machine](benchmark::State& s) { make(s, row, b, machine); })
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      };
      add(label(row, b), forward);
      if (row.differentiable > 0)
        add(fmt::format("{} with backward", label(row, b)), forward_and_backward);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    fmt::print("{}\n", build::describe("bench_ops"));
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const Machine machine = bench::measure_machine();
  fmt::print("{} threads: copying {:.1f} GB/s, multiply-adds {:.0f} GFLOP/s\n", num_threads(),
             1e-9 * machine.copy_bytes, 1e-9 * machine.fma_flops);
  std::fflush(stdout);
  add_benchmarks(machine);
  benchmark::RunSpecifiedBenchmarks();
}
