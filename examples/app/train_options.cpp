#include "examples/app/train_options.h"

#include <algorithm>
#include <filesystem>

#include "diffusion/objective/loss_weight.h"
#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"

namespace ito::app {
namespace {

constexpr std::int64_t billion = 1'000'000'000;

// The one list of the options. --predict score is far from variance 1, and not offered.
template <class Options, class Visitor>
void visit(Options& o, Visitor& v) {
  v.heading("Data");
  v("--dataset", o.dataset, Choices{{"fashion-mnist", "mnist", "cifar10", "synthetic", "folder"}},
    "what to learn; synthetic needs no file, folder is PNGs below --data", not_kept);
  v("--data", o.data, Text{"DIR"},
    "where the data set lies (default: where its package or scripts/get_data.sh puts it)", of_run);
  v("--image-size", o.image_size, IntRange{8, 1024},
    "side in pixels that synthetic and folder images get", not_kept);
  v("--image-channels", o.image_channels, IntRange{1, 3},
    "1 grey or 3 colour, for synthetic and folder images", not_kept);
  v("--strict", o.strict, Switch{}, "a file of the folder that cannot be read is an error",
    not_kept);
  v("--flip", o.flip, OnOff{}, "mirror each image with probability 1/2", learned);
  v("--overfit", o.overfit, IntRange{0, 1024},
    "debug: learn only this many images, with the same timesteps and noise every step; the "
    "loss must collapse. 0: off",
    learned);

  v.heading("Diffusion process and network");
  v("--schedule", o.schedule, Choices{NoiseSchedule::names()}, "noise schedule", learned);
  v("--timesteps", o.timesteps, IntRange{2, 100'000}, "T, steps of the forward process", learned);
  v("--predict", o.predict, NamedExcept{Prediction::score}, "what the network puts out", learned);
  v("--channels", o.channels, IntRange{1, 4096}, "width of the network at full resolution",
    learned);
  v("--multipliers", o.multipliers, IntList{{1, 64}, 1},
    "width at each resolution, in multiples of --channels; each after the first halves the image",
    learned);
  v("--blocks", o.blocks, IntRange{1, 16}, "residual blocks per resolution", learned);
  v("--attention", o.attention, IntList{{1, 1024}, 0},
    "resolutions (sides, in pixels) with attention, or none", learned);
  v("--heads", o.heads, IntRange{1, 64}, "attention heads", learned);
  v("--groups", o.groups, IntRange{1, 1024}, "groups of group normalisation; divides every width",
    learned);
  v("--dropout", o.dropout, RealRange{0, 1, false, true}, "probability of dropping an activation",
    learned);
  v("--class-conditional", o.class_conditional, Switch{},
    "tell the network the class of each image, so that classes can be asked for",
    learned_since(false));
  v("--drop-class", o.drop_class, RealRange{0, 1},
    "probability of the null class instead, which guidance needs", learned);
  v("--conditioning", o.conditioning, Named{},
    "how blocks take in timestep and class: added to their channels, or as scale and shift of a "
    "norm (AdaGN)",
    learned_since("add"));

  v.heading("Loss");
  std::vector<std::string> weights = all_names<LossWeight>();
  weights.emplace_back("bound");
  v("--loss-weight", o.loss_weight, Choices{weights},
    "weight of the squared error over time: 1; the variational bound's own with variance beta or "
    "beta-tilde; SNR, or at most 5 of it, on the error of x0; that of the likelihood. bound: the "
    "bound itself in bits per dimension, with its decoder",
    learned_since("simple"));
  v("--learn-variance", o.learn_variance, Switch{},
    "the network also puts out the variance of the reverse steps and learns it by the bound "
    "(twice the output channels)",
    learned_since(false));
  v("--t-sampling", o.t_sampling, Named{},
    "timesteps to learn from; importance draws those of large losses more often and weighs them "
    "less, which calms the bound",
    learned_since("uniform"));

  v.heading("Optimiser");
  visit_length(o, v);
  v("--batch", o.batch, IntRange{1, 1 << 20}, "images per step", learned);
  v("--lr", o.lr, RealRange{0, 1, true}, "learning rate of Adam", learned);
  v("--warmup", o.warmup, IntRange{0, billion},
    "steps over which the learning rate rises from 0; with --minutes, unless given, a fortieth of "
    "the steps",
    learned);
  v("--lr-decay", o.lr_decay, IntRange{0, billion},
    "step at which the learning rate, from --warmup on, has fallen to 0 along half a cosine; "
    "0: it stays. With --minutes, unless given, all of the steps",
    learned_since(std::int64_t{0}));
  v("--clip", o.clip, RealRange{0, 1e6, true}, "largest global norm of the gradient", learned);
  v("--ema", o.ema, RealRange{0, 1, false, true},
    "decay of the average of the weights, less in the first steps by --ema-warmup", learned);
  v("--ema-warmup", o.ema_warmup, Named{},
    "least of --ema and, at step n, ratio: (1 + n) / (10 + n); power: 1 - (1 + n)^(-2/3); "
    "half-life: 2^(-20 / n), which is 5 % of the run; none: --ema from the start",
    learned_since("ratio"));
  v("--ema-every", o.ema_every, IntRange{1, billion}, "steps between changes of the average",
    learned_since(std::int64_t{1}));
  v("--seed", o.seed, IntRange{0, INT64_MAX}, "of all random numbers; equal seeds give equal bits",
    learned);

  v.heading("Run");
  v("--out", o.run, Text{"DIR"}, "where everything is written", of_run);
  v("--sample-every", o.sample_every, IntRange{0, billion},
    "steps between sample grids; 0: only at the end", of_run);
  v("--sample-steps", o.sample_steps, IntRange{1, 1000}, "DDIM steps of the sample grids", of_run);
  v("--sample-eta", o.sample_eta, RealRange{0, 1},
    "noise of these steps; 1 forgives the mistakes of a young model, 0 shows them", of_run);
  v("--sample-count", o.sample_count, IntRange{0, 256},
    "images in a grid, once with averaged and once with raw weights; with --class-conditional "
    "rounded up to whole rows, one column for each class. 0: no grids",
    of_run);
  v("--device", o.device, Choices{{"auto", "cpu", "cuda"}}, "where to compute", of_run);
  v("--dtype", o.dtype, Choices{{"f32", "bf16"}},
    "what the network computes in; the weights that are trained and saved are f32. bf16 needs cuda",
    of_run);
  v("--recompute", o.recompute, Switch{},
    "compute blocks a second time for the gradients: steps take a third longer and need less "
    "memory",
    of_run);
  v("--no-graph", o.graph, Switch{.sets = false},
    "on cuda, start the kernels of a step one by one, for debugging", of_run);
  v("--profile", o.profile, Switch{},
    "write into --out where the time of five steps goes: profile.txt, by kernel and by layer, and "
    "profile.json for chrome://tracing or ui.perfetto.dev",
    not_kept);
  visit_run_flags(o, v);
}

// --minutes: neither the number of steps is known yet nor what follows from it.
void check_rate(const CommandLine& line, TrainOptions& o) {
  if (o.minutes > 0) {
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
  o.run = "out/train_mnist";
  o.sample_every = 500;
  o.sample_count = 16;
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
  o.flip = true;
  o.channels = 128;
  o.multipliers = {1, 2, 2, 2};
  o.attention = {16};
  o.dropout = 0.1;
  o.steps = 800'000;
  o.batch = 128;
  o.lr = 2e-4;
  o.warmup = 5000;
  o.ema = 0.9999;
  o.run = "out/train_cifar10";
  o.sample_every = 1000;
  o.sample_count = 16;
  o.checkpoint_every = 1000;
  return o;
}

std::optional<TrainOptions> parse_train_options(TrainOptions o, int argc, const char* const* argv) {
  CommandLine line(o.program, o.description);
  FlagAdder flags{line};
  visit(o, flags);
  line.allow_config_file();
  if (!line.parse(argc, argv)) return std::nullopt;
  if (o.profile) o.graph = false;  // a replayed graph launches nothing that could be timed

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
  check_rate(line, o);
  if (o.overfit > 0 && o.t_sampling == TimestepSampling::importance) {
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
    if (!line.given("--out")) o.run = training::run_of(o.resume);
  }
  if (o.overfit > 0) o.batch = o.overfit;
  return o;
}

std::vector<OptionRow> rows_of(const TrainOptions& options) {
  OptionCollector collected;
  visit(options, collected);
  return collected.rows;
}

Parametrization parametrization_of(Prediction predict) {
  return {.prediction = predict, .scale_input = predict == Prediction::edm};
}

void expect_signal(const std::string& schedule, std::int64_t timesteps, Prediction predict) {
  const bool ends_without = NoiseSchedule::named(schedule, timesteps).has_zero_terminal_snr();
  if (!ends_without || !needs_signal(predict)) return;
  fail<ValueError>(
      "--schedule {} leaves nothing of the image at the last timestep, and so needs --predict v or "
      "x0; got {}",
      schedule, name_of(predict));
}

nn::EmaDecay ema_decay(const TrainOptions& o) {
  return {.decay = o.ema, .warmup = o.ema_warmup, .every = o.ema_every};
}

}  // namespace ito::app
