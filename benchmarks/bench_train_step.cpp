// Time and memory of a whole training step: noise, forward, backward, clipping, Adam, EMA.
//
//   bench_train_step --preset mnist --batch 64 --threads 2
//
// prints one line, or with --json one line of JSON with the same fields as torch_ddpm_unet.py.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/gaussian_diffusion.h"
#include "diffusion/models/unet.h"
#include "nn/adam.h"
#include "nn/ema.h"
#include "nn/flat.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"

using namespace ito;

namespace {

struct Options {
  std::string preset = "mnist";
  std::int64_t batch = 64;
  int threads = 0, steps = 5, warmup = 2;
  bool json = false;
};

struct Result {
  std::int64_t parameters;
  double step_ms;    // median of wall time
  double cpu_ms;     // mean of processor time, all threads together
  std::size_t peak;  // bytes of live tensors, at most
  double loss;       // of the last step: the optimiser works
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Result measure(const Options& options) {
  const UNetConfig config = options.preset == "mnist" ? UNetConfig::mnist() : UNetConfig::cifar10();
  Rng init(0, Purpose::init), data(1, Purpose::data), noise(1, Purpose::noise);
  UNet unet(config, init);
  nn::FlatParameters flat(unet);
  nn::Adam adam(flat);
  nn::Ema ema(flat);
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Shape shape{options.batch, config.image_size, config.image_size, config.in_channels};
  const Tensor x0 = 2.0 * rand(data, shape) - 1.0;

  double loss_value = 0.0;
  const auto step = [&](std::uint64_t number) {
    noise.seek(number);
    const Tensor eps = randn(noise, shape);
    const Tensor t = randint(noise, 0, process.schedule.timesteps(), {options.batch});
    flat.zero_grad();
    const Tensor loss = process.loss(std::cref(unet), x0, t, eps);
    loss_value = loss.item();
    backward(loss);
    adam.step(2e-4, nn::clip_factor(nn::grad_norm(flat), 1.0));
    ema.update();
  };

  std::vector<double> times;
  for (int i = 0; i < options.warmup; ++i) step(static_cast<std::uint64_t>(i));
  memory::reset_peak();
  const double cpu_begin = cpu_seconds();
  for (int i = 0; i < options.steps; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    step(static_cast<std::uint64_t>(options.warmup + i));
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  const double cpu = (cpu_seconds() - cpu_begin) / options.steps;
  std::sort(times.begin(), times.end());
  return {flat.count(), 1e3 * times[times.size() / 2], 1e3 * cpu, memory::usage().peak, loss_value};
}

void print(const Options& options, const Result& r) {
  const double images_per_s = 1e3 * static_cast<double>(options.batch) / r.step_ms;
  if (options.json) {
    fmt::print(
        "{{\"peer\": \"ito\", \"preset\": \"{}\", \"device\": \"cpu\", \"dtype\": \"f32\", "
        "\"threads\": {}, \"batch\": {}, \"parameters\": {}, \"step_ms\": {:.2f}, "
        "\"cpu_ms\": {:.2f}, \"images_per_s\": {:.1f}, \"peak_bytes\": {}, \"loss\": {:.6f}}}\n",
        options.preset, num_threads(), options.batch, r.parameters, r.step_ms, r.cpu_ms,
        images_per_s, r.peak, r.loss);
  } else {
    fmt::print(
        "{} preset, {} parameters, batch {}, {} threads: {:.1f} ms per step ({:.1f} ms of "
        "processor "
        "time), {:.1f} images/s, {:.1f} MB at most, loss {:.4f}\n",
        options.preset, r.parameters, options.batch, num_threads(), r.step_ms, r.cpu_ms,
        images_per_s, 1e-6 * static_cast<double>(r.peak), r.loss);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Time and memory of a training step of the DDPM U-Net"};
  Options options;
  app.add_option("--preset", options.preset)
      ->check(CLI::IsMember({"mnist", "cifar10"}))
      ->capture_default_str();
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("--threads", options.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("--warmup", options.warmup)->check(CLI::Range(0, 1 << 20))->capture_default_str();
  app.add_flag("--json", options.json);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.threads > 0) set_num_threads(options.threads);
    print(options, measure(options));
  } catch (const Error& e) {
    fmt::print(stderr, "bench_train_step: {}\n", e.what());
    return 1;
  }
}
