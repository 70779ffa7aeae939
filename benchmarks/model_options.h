// The options that bench_train_step and bench_sample share: what network computes where.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "benchmarks/conv_option.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace ito::bench {

struct ModelOptions {
  std::string preset = "mnist", device_name = "cpu", dtype_name = "f32";
  int threads = 0;
  bool no_graph = false, json = false;

  Device device() const { return device_name == "cuda" ? Device::cuda() : Device::cpu(); }
  DType dtype() const { return dtype_name == "bf16" ? DType::bf16 : DType::f32; }

  void add_to(CLI::App& app) {
    app.add_option("--preset", preset)
        ->check(CLI::IsMember({"mnist", "cifar10", "tiny"}))
        ->capture_default_str();
    app.add_option("--device", device_name)
        ->check(CLI::IsMember({"cpu", "cuda"}))
        ->capture_default_str();
    app.add_option("--dtype", dtype_name, "bf16 on cuda only")
        ->check(CLI::IsMember({"f32", "bf16"}))
        ->capture_default_str();
    app.add_flag("--no-graph", no_graph, "start every kernel of every step from the host");
    add_conv_option(app);
    app.add_option("--threads", threads, "0: all cores")->check(CLI::Range(0, 1024));
    app.add_flag("--json", json);
  }
};

}  // namespace ito::bench
