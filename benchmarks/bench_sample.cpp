// Time and memory of drawing images: DDIM with a network of a preset, as `sample` draws them.
//
//   bench_sample --preset mnist --count 64 --threads 2
//   bench_sample --preset cifar10 --count 256 --batch 64 --device cuda --dtype bf16
//
// prints one line, or with --json one line of JSON with the same fields as torch_ddpm_unet.py
// --sample. The weights are initial ones: time does not depend on them. Warm-up is a walk of few
// steps, so the measured one finds its memory as the second batch of a user's images would.
// --profile also says where the time of a step went.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "benchmarks/model_options.h"
#include "benchmarks/presets.h"
#include "benchmarks/process.h"
#include "benchmarks/profile_option.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/models/unet.h"
#include "diffusion/sampling/samplers.h"
#include "nn/flat.h"
#include "nn/name_layers.h"
#include "tensor/build.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tensor/version.h"

using namespace ito;

namespace {

struct Options : bench::ModelOptions {
  std::int64_t count = 64, batch = 64, steps = 50, warmup = 2;
};

struct Result {
  std::int64_t parameters;
  double seconds;         // of wall time, for all images
  double cpu_seconds;     // of processor time, all threads together
  double faults;          // page faults of a step of one batch
  std::size_t peak;       // bytes of live tensors, at most
  std::int64_t resident;  // bytes of memory that model and steps took of the system, at most
  double rms;             // of the images: the same for every program that walks the same way
};

// Draws the images batch by batch; returns the mean of their squares.
double draw(const Options& o, const UNet& unet, std::int64_t steps) {
  const std::vector<Level> levels = sampling_levels(NoiseSchedule::linear(), steps, Spacing::even);
  const Denoiser model = thresholded(Parametrization{}.denoiser(std::cref(unet)), clip_x0);
  double squares = 0.0;
  for (std::int64_t first = 0; first < o.count; first += o.batch) {
    const std::int64_t n = std::min(o.batch, o.count - first);
    const UNetConfig& c = unet.config;
    Rng rng(1, Purpose::sample);
    rng.seek(0, static_cast<std::uint64_t>(first));
    const Tensor x_T =
        randn(rng, {n, c.image_size, c.image_size, c.in_channels}, DType::f32, o.device());
    const Tensor x0 = sample_ddim(model, x_T, levels, rng, {.loop = {.graph = !o.no_graph}});
    squares += static_cast<double>(n) * mean(square(x0)).item();
  }
  return squares / static_cast<double>(o.count);
}

Result measure(const Options& options, bench::ProfileOption& profile) {
  const bench::ResidentMemory resident;
  Rng init(0, Purpose::init);
  UNet unet(bench::unet_config(options.preset), init);
  if (options.device().is_cuda()) nn::FlatParameters(unet, options.device(), options.dtype());
  nn::name_layers(profile.profile, unet);
  if (options.warmup > 0) draw(options, unet, options.warmup);
  memory::reset_peak(options.device());

  const double cpu_begin = bench::processor_seconds();
  const std::int64_t faults_begin = bench::page_faults();
  const auto begin = std::chrono::steady_clock::now();
  auto recording = profile.record();
  const double squares = draw(options, unet, options.steps);
  recording.reset();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  const std::int64_t batches = (options.count + options.batch - 1) / options.batch;
  return {nn::parameter_count(unet),
          time.count(),
          bench::processor_seconds() - cpu_begin,
          static_cast<double>(bench::page_faults() - faults_begin) /
              static_cast<double>(batches * options.steps),
          memory::usage(options.device()).peak,
          resident.peak(),
          std::sqrt(squares)};
}

void print(const Options& o, const Result& r) {
  const double images_per_s = static_cast<double>(o.count) / r.seconds;
  const bool on_gpu = o.device().is_cuda();
  const std::string device = !on_gpu ? "cpu" : build::emulated ? "emulated" : "cuda";
  const double step_ms = 1e3 * r.seconds / static_cast<double>(o.steps);
  if (o.json) {
    fmt::print(
        "{{\"peer\": \"ito\", \"task\": \"sample\", \"preset\": \"{}\", \"device\": \"{}\", "
        "\"dtype\": \"{}\", \"threads\": {}, \"count\": {}, \"batch\": {}, \"steps\": {}, "
        "\"parameters\": {}, \"step_ms\": {:.3f}, \"cpu_ms\": {:.2f}, \"images_per_s\": {:.2f}, "
        "\"peak_bytes\": {}, \"resident_bytes\": {}, \"page_faults\": {:.1f}, \"rms\": {:.4f}}}\n",
        o.preset, device, o.dtype_name, num_threads(), o.count, o.batch, o.steps, r.parameters,
        step_ms, 1e3 * r.cpu_seconds / static_cast<double>(o.steps), images_per_s, r.peak,
        r.resident, r.faults, r.rms);
  } else {
    fmt::print(
        "{} preset, {} parameters, {} on {}, {} threads: {} images in {:.2f} s with DDIM of "
        "{} steps ({:.2f} s of processor time), {:.2f} images/s, batches of {}, "
        "{:.1f} MB of tensors and {:.1f} MB of memory at most, {:.0f} page faults per step{}\n",
        o.preset, r.parameters, o.dtype_name, device, num_threads(), o.count, r.seconds, o.steps,
        r.cpu_seconds, images_per_s, std::min(o.batch, o.count), 1e-6 * static_cast<double>(r.peak),
        1e-6 * static_cast<double>(r.resident), r.faults,
        device == "emulated" ? " (times of the emulated device mean nothing)" : "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Time and memory of drawing images with DDIM and the DDPM U-Net"};
  app.set_version_flag("--version", build::describe("bench_sample"));
  Options options;
  options.add_to(app);
  app.add_option("--count", options.count, "images")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--batch", options.batch, "images at a time")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--steps", options.steps, "of DDIM")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--warmup", options.warmup, "steps of a walk before the measured one")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  bench::ProfileOption profile;
  profile.add_to(app);
  CLI11_PARSE(app, argc, argv);
  options.no_graph = options.no_graph || profile.on();
  try {
    if (options.threads > 0) set_num_threads(options.threads);
    print(options, measure(options, profile));
    profile.print(
        static_cast<int>((options.count + options.batch - 1) / options.batch * options.steps),
        options.device());
  } catch (const Error& e) {
    fmt::print(stderr, "bench_sample: {}\n", e.what());
    return 1;
  }
}
