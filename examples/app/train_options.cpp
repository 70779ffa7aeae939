#include "examples/app/train_options.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "diffusion/objective/loss_weight.h"
#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"
#include "examples/app/output.h"
#include "tensor/build.h"
#include "tensor/parallel.h"

namespace ito::app {
namespace {

constexpr std::int64_t billion = 1'000'000'000;

void add_data_flags(CommandLine& line, TrainOptions& o) {
  line.heading("Data");
  line.add_choice("--dataset", o.dataset,
                  {"fashion-mnist", "mnist", "cifar10", "synthetic", "folder"},
                  "what to learn; synthetic needs no file, folder is PNGs below --data");
  line.add("--data", o.data, "DIR",
           "where the data set lies (default: where its package or scripts/get_data.sh puts it)");
  line.add("--image-size", o.image_size, {8, 1024},
           "side in pixels that synthetic and folder images get");
  line.add("--image-channels", o.image_channels, {1, 3},
           "1 grey or 3 colour, for synthetic and folder images");
  line.add_switch("--strict", o.strict, "a file of the folder that cannot be read is an error");
  line.add_choice("--flip", o.flip, {"on", "off"}, "mirror each image with probability 1/2");
  line.add("--overfit", o.overfit, {0, 1024},
           "debug: learn only this many images, with the same timesteps and noise every step; the "
           "loss must collapse. 0: off");
}

void add_model_flags(CommandLine& line, TrainOptions& o) {
  line.heading("Diffusion process and network");
  line.add_choice("--schedule", o.schedule, NoiseSchedule::names(), "noise schedule");
  line.add("--timesteps", o.timesteps, {2, 100'000}, "T, steps of the forward process");
  std::vector<std::string> predictions = names_of_predictions();
  std::erase(predictions, name_of(Prediction::score));  // far from variance 1
  line.add_choice("--predict", o.predict, predictions, "what the network puts out");
  line.add("--channels", o.channels, {1, 4096}, "width of the network at full resolution");
  line.add_list("--multipliers", o.multipliers, {1, 64}, 1,
                "width at each resolution, in multiples of --channels; each after the first halves "
                "the image");
  line.add("--blocks", o.blocks, {1, 16}, "residual blocks per resolution");
  line.add_list("--attention", o.attention, {1, 1024}, 0,
                "resolutions (sides, in pixels) with attention, or none");
  line.add("--heads", o.heads, {1, 64}, "attention heads");
  line.add("--groups", o.groups, {1, 1024}, "groups of group normalisation; divides every width");
  line.add("--dropout", o.dropout, {0, 1, false, true}, "probability of dropping an activation");
  line.add_switch("--class-conditional", o.class_conditional,
                  "tell the network the class of each image, so that classes can be asked for");
  line.add("--drop-class", o.drop_class, RealRange{0, 1},
           "probability of the null class instead, which guidance needs");
  line.add_choice("--conditioning", o.conditioning, {"add", "adagn"},
                  "how blocks take in timestep and class: added to their channels, or as scale and "
                  "shift of a norm (AdaGN)");
}

void add_loss_flags(CommandLine& line, TrainOptions& o) {
  line.heading("Loss");
  std::vector<std::string> weights = names_of_loss_weights();
  weights.emplace_back("bound");
  line.add_choice("--loss-weight", o.loss_weight, weights,
                  "weight of the squared error over time: 1; the variational bound's own with "
                  "variance beta or beta-tilde; SNR, or at most 5 of it, on the error of x0; that "
                  "of the likelihood. bound: the bound itself in bits per dimension, with its "
                  "decoder");
  line.add_switch("--learn-variance", o.learn_variance,
                  "the network also puts out the variance of the reverse steps and learns it by "
                  "the bound (twice the output channels)");
  line.add_choice("--t-sampling", o.t_sampling, {"uniform", "importance"},
                  "timesteps to learn from; importance draws those of large losses more often and "
                  "weighs them less, which calms the bound");
}

void add_optimiser_flags(CommandLine& line, TrainOptions& o) {
  line.heading("Optimiser");
  line.add("--steps", o.steps, {1, billion}, "optimiser steps in all, counted from the beginning");
  line.add(
      "--minutes", o.minutes, RealRange{0, 1e6, true},
      "in place of --steps: as many steps as this machine makes in so many minutes, sample "
      "grids and checkpoints included. A few steps are timed first, then their number is "
      "fixed, printed and kept for --resume; a machine that becomes slower later takes longer. "
      "Unless given, --warmup is a fortieth of the steps and --lr-decay all of them");
  line.add("--batch", o.batch, {1, 1 << 20}, "images per step");
  line.add("--lr", o.lr, {0, 1, true}, "learning rate of Adam");
  line.add("--warmup", o.warmup, {0, billion}, "steps over which the learning rate rises from 0");
  line.add(
      "--lr-decay", o.lr_decay, {0, billion},
      "step at which the learning rate, from --warmup on, has fallen to 0 along half a cosine; "
      "0: it stays");
  line.add("--clip", o.clip, {0, 1e6, true}, "largest global norm of the gradient");
  line.add("--ema", o.ema, {0, 1, false, true},
           "decay of the average of the weights, less in the first steps by --ema-warmup");
  line.add_choice("--ema-warmup", o.ema_warmup, {"ratio", "power", "half-life", "none"},
                  "least of --ema and, at step n, (1 + n) / (10 + n); 1 - (1 + n)^(-2/3); "
                  "2^(-20 / n), a half-life of 5 % of the run; or --ema from the start");
  line.add("--ema-every", o.ema_every, {1, billion}, "steps between changes of the average");
  line.add("--seed", o.seed, {0, INT64_MAX}, "of all random numbers; equal seeds give equal bits");
}

void add_run_flags(CommandLine& line, TrainOptions& o, bool& no_graph) {
  line.heading("Run");
  line.add("--out", o.out, "DIR", "where everything is written");
  line.add("--resume", o.resume, "auto|DIR",
           "go on from the newest good checkpoint in --out (auto; from step 0 when there is none), "
           "or from this run or checkpoint");
  line.add_switch("--overwrite", o.overwrite, "replace an earlier run in --out");
  line.add("--sample-every", o.sample_every, {0, billion},
           "steps between sample grids; 0: only at the end");
  line.add("--sample-steps", o.sample_steps, {1, 1000}, "DDIM steps of the sample grids");
  line.add("--sample-eta", o.sample_eta, RealRange{0, 1},
           "noise of these steps; 1 forgives the mistakes of a young model, 0 shows them");
  line.add("--sample-count", o.sample_count, {0, 256},
           "images in a grid, once with averaged and once with raw weights; with "
           "--class-conditional rounded up to whole rows, one column for each class. 0: no grids");
  line.add("--checkpoint-every", o.checkpoint_every, {0, billion},
           "steps between checkpoints; 0: only at the end");
  line.add("--keep-last", o.keep_last, {1, 1'000'000}, "checkpoints to keep");
  line.add("--log-every", o.log_every, {1, billion}, "steps averaged in one line of metrics.jsonl");
  line.add("--threads", o.threads, {0, 1024},
           "threads, 0: one per core. Results do not depend on it");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"}, "where to compute");
  line.add_choice("--dtype", o.dtype, {"f32", "bf16"},
                  "what the network computes in; the weights that are trained and saved are f32. "
                  "bf16 needs cuda");
  line.add_switch("--recompute", o.recompute,
                  "compute blocks a second time for the gradients: steps take a third longer and "
                  "need less memory");
  line.add_switch("--no-graph", no_graph,
                  "on cuda, start the kernels of a step one by one, for debugging");
  line.add_switch("--profile", o.profile,
                  "write into --out where the time of five steps goes: profile.txt, by kernel and "
                  "by layer, and profile.json for chrome://tracing or ui.perfetto.dev");
  line.add_switch("--quiet", o.quiet, "print errors only");
}

// --minutes: neither the number of steps is known yet nor what follows from it.
void check_length(const CommandLine& line, TrainOptions& o) {
  if (line.given("--minutes")) {
    if (line.given("--steps")) {
      stop(ExitCode::usage, "--minutes and --steps exclude each other: one follows from the other");
    }
    o.steps = 0;
    o.warmup_follows = !line.given("--warmup");
    o.decay_follows = !line.given("--lr-decay");
  }
  const bool known = !o.warmup_follows && !o.decay_follows;
  if (known && o.lr_decay > 0 && o.lr_decay <= o.warmup) {
    stop(ExitCode::usage, "--lr-decay must be above --warmup; got {} and {}", o.lr_decay, o.warmup);
  }
}

}  // namespace

TrainOptions mnist_recipe() {
  TrainOptions o;
  o.program = "train_mnist";
  o.description =
      "Trains a diffusion model on small grey images (Fashion-MNIST by default).\n"
      "The optimiser is DDPM's with a rate and an average suited to runs of minutes.";
  o.dataset = "fashion-mnist";
  o.image_size = 28;
  o.image_channels = 1;
  o.channels = 32;
  o.multipliers = {1, 2, 2};
  o.attention = {14};
  o.steps = 4000;
  o.batch = 64;
  o.lr = 1e-3;
  o.warmup = 100;
  o.ema = 0.995;
  o.out = "out/train_mnist";
  o.sample_every = 500;
  o.checkpoint_every = 500;
  return o;
}

TrainOptions cifar10_recipe() {
  TrainOptions o;
  o.program = "train_cifar10";
  o.description =
      "Trains a diffusion model on small colour images (CIFAR-10 by default).\n"
      "Defaults are the recipe of Ho et al. 2020: meant for a GPU and days of work.";
  o.dataset = "cifar10";
  o.image_size = 32;
  o.image_channels = 3;
  o.flip = "on";
  o.channels = 128;
  o.multipliers = {1, 2, 2, 2};
  o.attention = {16};
  o.dropout = 0.1;
  o.steps = 800'000;
  o.batch = 128;
  o.lr = 2e-4;
  o.warmup = 5000;
  o.ema = 0.9999;
  o.out = "out/train_cifar10";
  o.sample_every = 1000;
  o.checkpoint_every = 1000;
  return o;
}

std::optional<TrainOptions> parse_train_options(TrainOptions o, int argc, const char* const* argv) {
  CommandLine line(o.program, o.description);
  add_data_flags(line, o);
  add_model_flags(line, o);
  add_loss_flags(line, o);
  add_optimiser_flags(line, o);
  bool no_graph = false;
  add_run_flags(line, o, no_graph);
  line.allow_config_file();
  if (!line.parse(argc, argv)) return std::nullopt;
  o.graph = !no_graph && !o.profile;  // a replayed graph launches nothing that could be timed

  if (o.image_channels == 2) {
    stop(ExitCode::usage, "--image-channels must be 1 (grey) or 3 (colour); got 2");
  }
  if (o.dataset == "folder" && !line.given("--data")) {
    stop(ExitCode::usage, "--dataset folder needs --data DIR, a folder with PNG files");
  }
  with_exit_code(ExitCode::usage, [&] { expect_signal(o.schedule, o.timesteps, o.predict); });
  if (!line.given("--sample-steps")) o.sample_steps = std::min(o.sample_steps, o.timesteps);
  if (o.sample_steps > o.timesteps) {
    stop(ExitCode::usage, "--sample-steps must be at most --timesteps; got {} and {}",
         o.sample_steps, o.timesteps);
  }
  if (line.given("--drop-class") && !o.class_conditional) {
    stop(ExitCode::usage, "--drop-class belongs to --class-conditional");
  }
  check_length(line, o);
  if (o.overfit > 0 && o.t_sampling == "importance") {
    stop(ExitCode::usage,
         "--t-sampling importance changes the timesteps, which --overfit keeps; use uniform");
  }
  if (!o.resume.empty() && o.overwrite) {
    stop(ExitCode::usage, "--resume and --overwrite exclude each other");
  }
  if (!o.resume.empty() && o.resume != "auto") {
    if (!std::filesystem::exists(o.resume)) {
      stop(ExitCode::checkpoint, "--resume {}: no such directory", o.resume);
    }
    if (!line.given("--out")) o.out = run_of(o.resume);
  }
  if (o.overfit > 0) o.batch = o.overfit;
  return o;
}

std::string run_of(const std::string& checkpoint) {
  namespace fs = std::filesystem;
  const fs::path path = fs::path(checkpoint + "/").lexically_normal().parent_path();
  if (path.filename() == "checkpoints") return path.parent_path().string();
  if (path.parent_path().filename() == "checkpoints")
    return path.parent_path().parent_path().string();
  return path.string();
}

Parametrization parametrization_of(const std::string& predict) {
  Parametrization p{.prediction = prediction_from_name(predict)};
  p.scale_input = p.prediction == Prediction::edm;
  return p;
}

void expect_signal(const std::string& schedule, std::int64_t timesteps,
                   const std::string& predict) {
  const bool ends_without = NoiseSchedule::named(schedule, timesteps).has_zero_terminal_snr();
  if (!ends_without || !needs_signal(prediction_from_name(predict))) return;
  fail<ValueError>(
      "--schedule {} leaves nothing of the image at the last timestep, and so needs --predict v or "
      "x0; got {}",
      schedule, predict);
}

nn::EmaDecay ema_decay(const TrainOptions& o) {
  nn::EmaDecay decay{.decay = o.ema, .every = o.ema_every};
  if (o.ema_warmup == "power") decay.warmup = nn::EmaWarmup::power;
  if (o.ema_warmup == "half-life") decay.warmup = nn::EmaWarmup::half_life;
  if (o.ema_warmup == "none") decay.warmup = nn::EmaWarmup::none;
  return decay;
}

nn::LrSchedule learning_rate(const TrainOptions& o) {
  if (o.lr_decay == 0) return nn::LrSchedule::constant(o.lr, o.warmup);
  return nn::LrSchedule::cosine(o.lr, o.warmup, o.lr_decay);
}

Device choose_device(const std::string& name, std::int64_t threads, bool quiet) {
  if (threads > 0) set_num_threads(static_cast<int>(threads));
  if (name == "cpu") return Device::cpu();
  if (available(Device::cuda())) return Device::cuda();
  if (name == "cuda") {
    stop(ExitCode::resource, "--device cuda: {}", why_unavailable(Device::cuda()));
  }
  if (build::cuda && !quiet) {
    print(stderr, "device auto: using the CPU ({})\n", why_unavailable(Device::cuda()));
  }
  return Device::cpu();
}

DType choose_dtype(const std::string& name, Device device) {
  if (name == "f32") return DType::f32;
  if (device.is_cpu()) {
    stop(ExitCode::usage, "--dtype {} needs --device cuda: the CPU computes in f32", name);
  }
  return DType::bf16;
}

}  // namespace ito::app
