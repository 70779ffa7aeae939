// Draws images from a trained model. Needs nothing but the checkpoint, which carries its
// configuration.
//
//   sample --checkpoint out/train_mnist --count 64 --out samples.png
//   sample --checkpoint model.safetensors --sampler ddpm --trajectory denoising.png
//
// Image i depends on the seed and i alone, however the work is cut into batches.
#include <algorithm>

#include "data/png.h"
#include "diffusion/samplers.h"
#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/model_file.h"
#include "examples/app/output.h"
#include "examples/app/progress.h"
#include "examples/app/signals.h"
#include "examples/app/train_options.h"
#include "ito.h"
#include "nn/safetensors.h"

namespace {

using namespace ito;

struct SampleOptions {
  std::string checkpoint, sampler = "ddim", out = "samples.png", trajectory, save;
  std::string device = "auto", dtype = "f32";
  std::string variance = "beta";
  std::int64_t steps = 0;  // 0: what suits the sampler
  std::int64_t count = 64, seed = 0, batch = 64, columns = 0, scale = 2, threads = 0;
  double eta = 0;
  bool raw = false, no_clip = false, no_graph = false, quiet = false;
};

bool parse(SampleOptions& o, int argc, char** argv) {
  app::CommandLine line("sample", "Draws images from a trained diffusion model.");
  line.heading("Model");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "run directory, checkpoint directory or safetensors file (needed)");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.heading("Sampler");
  line.add_choice("--sampler", o.sampler, {"ddpm", "ddim"},
                  "ancestral, or implicit with few steps");
  line.add("--steps", o.steps, {0, 100'000},
           "denoising steps; 0: 50 for ddim, for ddpm all timesteps of the model");
  line.add("--eta", o.eta, {0.0, 1.0}, "noise of ddim: 0 none, 1 as much as ddpm");
  line.add_choice("--variance", o.variance, {"beta", "beta-tilde"}, "of the steps of ddpm");
  line.add_switch("--no-clip", o.no_clip, "do not clip estimates of the image to [-1, 1]");
  line.add("--seed", o.seed, {0, INT64_MAX}, "of the noise; equal seeds give equal images");
  line.heading("Output");
  line.add("--count", o.count, {1, 100'000}, "images");
  line.add("--out", o.out, "FILE.png", "grid of all images");
  line.add("--trajectory", o.trajectory, "FILE.png",
           "animated PNG of the denoising, up to 64 images");
  line.add("--save", o.save, "FILE.safetensors", "the images as f32 [N, H, W, C] in [-1, 1]");
  line.add("--columns", o.columns, {0, 1000}, "images per row of the grid; 0: nearest to a square");
  line.add("--scale", o.scale, {1, 16}, "pictures show a pixel as this many squared");
  line.heading("Run");
  line.add("--batch", o.batch, {1, 4096},
           "images computed at a time; changes memory and speed only");
  line.add("--threads", o.threads, {0, 1024}, "threads, 0: one per core");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"}, "where to compute");
  line.add_choice("--dtype", o.dtype, {"f32", "bf16"}, "of the network; bf16 needs cuda");
  line.add_switch("--no-graph", o.no_graph,
                  "on the device, start each kernel by itself (for debugging)");
  line.add_switch("--quiet", o.quiet, "print errors only");
  line.require("--checkpoint");
  line.allow_config_file();
  if (!line.parse(argc, argv)) return false;
  if (o.sampler == "ddpm" && line.given("--eta")) {
    app::stop(app::ExitCode::usage, "--eta belongs to --sampler ddim");
  }
  return true;
}

// Which steps become frames of the animation: at most 50, evenly, and always the last.
bool is_frame(std::int64_t step, std::int64_t steps) {
  const std::int64_t frames = std::min<std::int64_t>(steps, 50);
  return step * frames / steps != (step - 1) * frames / steps;
}

struct Drawn {
  Tensor images;               // f32 [N, H, W, C]
  std::vector<Tensor> frames;  // x_t on the way, each like `images`, of the first images
};

Drawn draw(const SampleOptions& o, std::int64_t steps, const app::LoadedModel& model, Device device,
           app::Progress& progress) {
  const GaussianDiffusion process = model.process();
  const Denoiser denoiser = model.denoiser();
  const UNetConfig& net = model.card.network;
  const std::int64_t animated = o.trajectory.empty() ? 0 : std::min<std::int64_t>(o.count, 64);

  std::vector<Tensor> images;
  std::vector<std::vector<Tensor>> frames;  // by frame, then by batch
  for (std::int64_t first = 0; first < o.count; first += o.batch) {
    const std::int64_t n = std::min(o.batch, o.count - first);
    Rng rng(static_cast<std::uint64_t>(o.seed), Purpose::sample);
    rng.seek(0, static_cast<std::uint64_t>(first));
    const Tensor x_T =
        randn(rng, {n, net.image_size, net.image_size, net.in_channels}, DType::f32, device);
    const std::int64_t show = std::clamp<std::int64_t>(animated - first, 0, n);
    const auto keep = [&](std::size_t frame, const Tensor& x) {
      if (show == 0) return;
      if (frames.size() <= frame) frames.resize(frame + 1);
      frames[frame].push_back(slice(x, 0, 0, show).to(Device::cpu()));
    };
    keep(0, x_T);
    std::size_t frame = 1;
    const Observer watch = [&](const SampleStep& s) {
      if (is_frame(s.step, s.steps)) keep(frame++, s.x_next);
      progress.update(first * steps + s.step * n, NAN, 0, 0);
      if (app::stop_requested()) {
        throw app::ProgramError(app::signal_exit_code(),
                                "stopped by a signal; nothing was written");
      }
    };
    const X0Limit limit = o.no_clip ? X0Limit{} : X0Limit{clip_x0};
    Tensor x0;
    if (o.sampler == "ddim") {
      x0 = sample_ddim(process, denoiser, x_T, rng,
                       {.steps = steps,
                        .eta = o.eta,
                        .limit_x0 = limit,
                        .observer = watch,
                        .graph = !o.no_graph});
    } else {
      const auto variance =
          o.variance == "beta" ? ReverseVariance::beta : ReverseVariance::beta_tilde;
      x0 = sample_ddpm(process, denoiser, x_T, rng,
                       {.steps = steps,
                        .variance = variance,
                        .limit_x0 = limit,
                        .observer = watch,
                        .graph = !o.no_graph});
    }
    images.push_back(x0.to(Device::cpu()));
  }
  Drawn drawn{concat(images, 0), {}};
  for (const auto& frame : frames) drawn.frames.push_back(concat(frame, 0));
  return drawn;
}

Tensor picture(const SampleOptions& o, const Tensor& images) {
  return data::upscale(data::image_grid(images, o.columns), o.scale);
}

void write(const SampleOptions& o, const app::LoadedModel& model, const Drawn& drawn,
           std::int64_t steps) {
  const std::string sampler = o.sampler == "ddim"
                                  ? fmt::format("ddim, {} steps, eta {}", steps, o.eta)
                                  : fmt::format("ddpm, {} steps, variance {}", steps, o.variance);
  const data::PngText text = {{"Software", "ito " ITO_VERSION},
                              {"seed", std::to_string(o.seed)},
                              {"sampler", sampler},
                              {"step", std::to_string(model.step)},
                              {"weights", model.weights},
                              {"checkpoint", model.fingerprint}};
  data::write_png(o.out, picture(o, drawn.images), text);
  if (!o.trajectory.empty()) {
    std::vector<Tensor> frames;
    for (const Tensor& frame : drawn.frames) {
      const Tensor p = picture(o, frame);
      frames.push_back(p.alias({1, p.size(0), p.size(1), p.size(2)}));
    }
    data::write_apng(o.trajectory, concat(frames, 0), {}, text);
  }
  if (!o.save.empty()) {
    nn::save_safetensors(o.save, {{"samples", drawn.images}}, {text.begin(), text.end()});
  }
}

app::ExitCode run(const SampleOptions& o) {
  const Device device = app::choose_device(o.device, o.threads, o.quiet);
  const DType dtype = app::choose_dtype(o.dtype, device);
  const app::LoadedModel model = app::load_model(
      o.checkpoint, o.raw ? app::Weights::raw : app::Weights::average, device, dtype);
  const std::int64_t usual = o.sampler == "ddim" ? 50 : model.card.timesteps;
  const std::int64_t steps = o.steps > 0 ? o.steps : std::min(usual, model.card.timesteps);
  if (steps > model.card.timesteps) {
    app::stop(app::ExitCode::usage,
              "--steps must be at most {}, the timesteps of this model; got {}",
              model.card.timesteps, o.steps);
  }
  app::catch_signals();
  app::Progress progress(o.count * steps, 0, 0, o.quiet);
  const Drawn drawn = draw(o, steps, model, device, progress);
  progress.finish();
  app::with_exit_code(app::ExitCode::resource, [&] { write(o, model, drawn, steps); });
  if (!o.quiet) {
    app::print(stderr, "{} images of {} ({} weights, step {}) in {}\n", o.count, model.card.dataset,
               model.weights, model.step, o.out);
  }
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("sample", [&] {
    SampleOptions options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
