// Time and memory of a whole training step: batch, noise, forward, backward, clipping, Adam, EMA.
//
//   bench_train_step --preset mnist --batch 64 --threads 2
//   bench_train_step --preset cifar10 --batch 128 --device cuda --dtype bf16
//
// prints one line, or with --json one line of JSON with the same fields as torch_ddpm_unet.py. The
// step is that of the training programs: on a GPU it is one recorded graph, and nothing is read
// back within the timed steps.
//
//   bench_train_step --profile=step.json
//
// also says where the time went, by kernel and by layer, and writes the steps as a trace for
// chrome://tracing or ui.perfetto.dev; without a file it only prints.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "benchmarks/model_options.h"
#include "benchmarks/presets.h"
#include "benchmarks/process.h"
#include "benchmarks/profile_option.h"
#include "data/batch.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/models/unet.h"
#include "nn/adam.h"
#include "nn/ema.h"
#include "nn/flat.h"
#include "nn/name_layers.h"
#include "tensor/build.h"
#include "tensor/cuda_graph.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tensor/version.h"

using namespace ito;

namespace {

struct Options : bench::ModelOptions {
  std::int64_t batch = 64;
  int steps = 5, warmup = 2;
  bool recompute = false;
};

struct Result {
  std::int64_t parameters;
  int steps;              // that were measured
  double step_ms;         // median of wall time
  double cpu_ms;          // mean of processor time, all threads together
  double threads_busy;    // share of the threads that had work, of 1; 0 on a GPU
  double faults;          // page faults of a step, mean
  std::size_t peak;       // bytes of live tensors, at most
  std::int64_t resident;  // bytes of memory that model and steps took of the system, at most
  double loss;            // of the last step: the optimiser works
};

// Everything that a step needs, and the step.
class Training {
 public:
  explicit Training(const Options& o)
      : device_(o.device()),
        dtype_(o.dtype()),
        batch_(o.batch),
        config_(bench::unet_config(o.preset)),
        unet_(config_, init_),
        flat_(unet_, device_, dtype_),
        adam_(flat_),
        ema_(flat_),
        images_(random_images(config_).to(device_)),
        number_(Tensor::zeros({1}, DType::i64, device_)),
        graph_(
            device_, [this] { work(); }, !o.no_graph) {
    unet_.recompute = o.recompute;
    noise_.bind(number_);
    adam_.set_lr(2e-4);
  }

  /// Queues one step.
  void step(std::int64_t number) {
    number_.fill(static_cast<double>(number));
    graph_.run();
  }
  /// The loss of the last step; waits until it is done.
  double loss() const { return loss_.item(); }
  std::int64_t parameters() const { return flat_.count(); }
  void name_layers(profile::Profile& profile) { nn::name_layers(profile, unet_); }

 private:
  static data::Dataset random_images(const UNetConfig& c) {
    Rng rng(1, Purpose::data);
    const Shape shape{256, c.image_size, c.image_size, c.in_channels};
    data::Dataset set;
    set.name = "noise";
    set.images = data::to_bytes(2.0 * rand(rng, shape) - 1.0);
    return set;
  }

  void work() {
    noise_.seek(0);
    const Tensor indices = randint(noise_, 0, images_.count(), {batch_}, device_);
    const Tensor t = randint(noise_, 0, schedule_.timesteps(), {batch_}, device_);
    flat_.zero_grad();
    const Tensor x0 = data::gather_batch(images_, indices);
    const Tensor eps = randn(noise_, x0.shape(), DType::f32, device_);
    const Levels levels = schedule_.levels(t, x0);
    const Tensor output = unet_(add_noise(x0, eps, levels), levels.time);
    const Tensor losses = Parametrization{}.losses(output, x0, eps, levels);
    loss_ = mean(losses);
    backward(loss_);
    adam_.step_if_finite({.max_norm = 1.0, .average = &ema_, .losses = detach(losses)});
  }

  Device device_;
  DType dtype_;
  std::int64_t batch_;
  UNetConfig config_;
  Rng init_{0, Purpose::init}, noise_{1, Purpose::noise};
  UNet unet_;
  nn::FlatParameters flat_;
  nn::Adam adam_;
  nn::Ema ema_;
  const NoiseSchedule schedule_ = NoiseSchedule::linear();
  data::Dataset images_;
  Tensor number_, loss_;
  CudaGraph graph_;
};

Result measure(const Options& options, bench::ProfileOption& profile) {
  const bench::ResidentMemory resident;
  Training training(options);
  training.name_layers(profile.profile);
  std::int64_t number = 0;
  for (int i = 0; i < options.warmup; ++i) training.step(number++);
  if (options.warmup > 0) training.loss();
  memory::reset_peak(options.device());

  // The host runs ahead of a GPU: time several steps together, and wait at the end of each stretch.
  const int stretches = options.device().is_cpu() ? options.steps : std::min(5, options.steps);
  const int per_stretch = options.steps / stretches;
  std::vector<double> times;
  auto recording = profile.record();
  const double cpu_begin = bench::processor_seconds();
  const PoolTimes pool_begin = pool_times();
  const std::int64_t faults_begin = bench::page_faults();
  for (int i = 0; i < stretches; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int k = 0; k < per_stretch; ++k) training.step(number++);
    training.loss();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    times.push_back(time.count() / per_stretch);
  }
  const int steps = stretches * per_stretch;
  const double cpu = (bench::processor_seconds() - cpu_begin) / steps;
  const double faults = static_cast<double>(bench::page_faults() - faults_begin) / steps;
  const double seconds = per_stretch * std::accumulate(times.begin(), times.end(), 0.0);
  const double busy = options.device().is_cpu() ? share_of_threads(seconds, pool_begin) : 0.0;
  recording.reset();
  std::sort(times.begin(), times.end());
  return {training.parameters(),
          steps,
          1e3 * times[times.size() / 2],
          1e3 * cpu,
          busy,
          faults,
          memory::usage(options.device()).peak,
          resident.peak(),
          training.loss()};
}

void print(const Options& o, const Result& r) {
  const double images_per_s = 1e3 * static_cast<double>(o.batch) / r.step_ms;
  const bool on_gpu = o.device().is_cuda();
  const std::string device = !on_gpu ? "cpu" : build::emulated ? "emulated" : "cuda";
  const std::string graph = on_gpu && !o.no_graph ? "graph" : "no";
  if (o.json) {
    fmt::print(
        "{{\"peer\": \"ito\", \"preset\": \"{}\", \"device\": \"{}\", \"dtype\": \"{}\", "
        "\"graph\": \"{}\", \"recompute\": {}, \"threads\": {}, \"batch\": {}, \"parameters\": {}, "
        "\"step_ms\": {:.3f}, \"cpu_ms\": {:.2f}, \"threads_busy\": {:.3f}, "
        "\"images_per_s\": {:.1f}, \"peak_bytes\": {}, \"resident_bytes\": {}, \"page_faults\": "
        "{:.1f}, \"loss\": {:.6f}}}\n",
        o.preset, device, o.dtype_name, graph, o.recompute, num_threads(), o.batch, r.parameters,
        r.step_ms, r.cpu_ms, r.threads_busy, images_per_s, r.peak, r.resident, r.faults, r.loss);
  } else {
    fmt::print(
        "{} preset, {} parameters, batch {}, {} on {}{}{}, {} threads: {:.2f} ms per step "
        "({:.1f} ms of processor time{}), {:.1f} images/s, {:.1f} MB of tensors and "
        "{:.1f} MB of memory at most, {:.0f} page faults per step, loss {:.4f}{}\n",
        o.preset, r.parameters, o.batch, o.dtype_name, device,
        graph == "graph" ? " as a graph" : "", o.recompute ? ", recomputing" : "", num_threads(),
        r.step_ms, r.cpu_ms,
        on_gpu ? "" : fmt::format(", threads busy {:.0f} %", 1e2 * r.threads_busy), images_per_s,
        1e-6 * static_cast<double>(r.peak), 1e-6 * static_cast<double>(r.resident), r.faults,
        r.loss, device == "emulated" ? " (times of the emulated device mean nothing)" : "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Time and memory of a training step of the DDPM U-Net"};
  app.set_version_flag("--version", build::describe("bench_train_step"));
  Options options;
  options.add_to(app);
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("--warmup", options.warmup)->check(CLI::Range(0, 1 << 20))->capture_default_str();
  app.add_flag("--recompute", options.recompute,
               "compute blocks a second time for the gradients, to keep less in memory");
  bench::ProfileOption profile;
  profile.add_to(app);
  CLI11_PARSE(app, argc, argv);
  options.no_graph = options.no_graph || profile.on();
  try {
    if (options.threads > 0) set_num_threads(options.threads);
    const Result result = measure(options, profile);
    print(options, result);
    profile.print(result.steps, options.device());
  } catch (const Error& e) {
    fmt::print(stderr, "bench_train_step: {}\n", e.what());
    return 1;
  }
}
