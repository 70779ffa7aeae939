// Trains a small classifier of images: on clean ones, to compare and to judge samples with, or on
// noisy ones of every strength, to guide a sampler with (Dhariwal & Nichol 2021).
//
//   train_classifier                                            Fashion-MNIST, in minutes
//   train_classifier --inputs noisy --schedule cosine --out out/noisy.safetensors
//   train_classifier --resume auto                              goes on where it was stopped
//
// At the end it prints the accuracy on the test split, at several strengths of noise.
#include <algorithm>
#include <cmath>

#include "examples/app/datasets.h"
#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/output.h"
#include "examples/app/program_run.h"
#include "examples/app/time_budget.h"
#include "ito.h"
#include "nn/fingerprint.h"

namespace {

using namespace ito;

struct Options : app::RunFlags {
  std::string dataset = "fashion-mnist", data, schedule = "linear";
  ClassifierInputs inputs = ClassifierInputs::clean;
  std::string out = "out/classifier.safetensors";
  std::int64_t timesteps = 1000, channels = 32;
  double weight_decay = 0.05;

  Options() {
    program = "train_classifier";
    description = "Trains a small classifier of clean or noisy images.";
    steps = 6000;
    batch = 64;
    lr = 2e-3;
    decay_follows = true;
    checkpoint_every = 500;
    keep_last = 1;
  }
};

bool noisy(const Options& o) { return o.inputs == ClassifierInputs::noisy; }

template <class Flags, class Visitor>
void visit(Flags& o, Visitor& v) {
  using namespace app;
  v.heading("Data");
  v("--dataset", o.dataset, Choices{{"fashion-mnist", "mnist", "cifar10", "synthetic"}},
    "what to learn; synthetic needs no file", learned);
  v("--data", o.data, Text{"DIR"},
    "where the data set lies (default: where its package or scripts/get_data.sh puts it)", of_run);
  v("--inputs", o.inputs, Named{},
    "the images themselves, or x_t at every timestep of the schedule", learned);
  v("--schedule", o.schedule, Choices{NoiseSchedule::names()},
    "of the noise: that of the model to be guided", learned);
  v("--timesteps", o.timesteps, IntRange{2, 100'000}, "T of that model", learned);
  v.heading("Network and optimiser");
  v("--channels", o.channels, IntRange{8, 512}, "of the first level; a multiple of 8", learned);
  visit_length(o, v);
  v("--batch", o.batch, IntRange{1, 4096}, "images per step", learned);
  v("--lr", o.lr, RealRange{0.0, 1.0, true}, "highest learning rate; it falls along a cosine",
    learned);
  v("--weight-decay", o.weight_decay, RealRange{0.0, 1.0}, "of AdamW", learned);
  v("--seed", o.seed, IntRange{0, INT64_MAX}, "of weights, order, mirroring and noise", learned);
  v.heading("Run");
  v("--out", o.out, Text{"FILE.safetensors"},
    "the classifier; beside it FILE.run/ with checkpoints, metrics and report.html", of_run);
  v("--device", o.device, Choices{{"auto", "cpu", "cuda"}}, "where to compute", of_run);
  visit_run_flags(o, v);
}

bool parse(Options& o, int argc, char** argv) {
  app::CommandLine line(o.program, o.description);
  app::FlagAdder flags{line};
  visit(o, flags);
  line.allow_config_file();
  if (!line.parse(argc, argv)) return false;
  app::check_length(line, o);
  if (o.channels % 8 != 0) {
    app::stop(app::ExitCode::usage, "--channels must be a multiple of 8; got {}", o.channels);
  }
  if (!noisy(o) && (line.given("--schedule") || line.given("--timesteps"))) {
    app::stop(app::ExitCode::usage, "--schedule and --timesteps belong to --inputs noisy");
  }
  if (o.minutes == 0) app::follow_steps(o, o.steps);
  app::run_beside(o, o.out);
  app::expect_output("--out", o.out);
  return true;
}

// The share of images whose label has the highest logit, with noise of timestep t added; t < 0 adds
// none.
double accuracy(const Classifier& classifier, const data::Dataset& set,
                const NoiseSchedule& schedule, std::int64_t t, Device device) {
  constexpr std::int64_t batch = 250;
  const std::vector<std::int64_t> labels = set.labels.to_vector<std::int64_t>();
  Rng noise(0, Purpose::sample);
  std::int64_t right = 0;
  for (std::int64_t first = 0; first < set.count(); first += batch) {
    std::vector<std::int64_t> indices;
    for (std::int64_t i = first; i < std::min(first + batch, set.count()); ++i) {
      indices.push_back(i);
    }
    noise.seek(0, static_cast<std::uint64_t>(first));
    const Tensor x0 = data::gather_batch(set, indices).to(device);
    const Levels levels = same_level(schedule.level(std::max<std::int64_t>(t, 0)), x0);
    const Tensor x =
        t < 0 ? x0 : add_noise(x0, randn(noise, x0.shape(), DType::f32, device), levels);
    const std::vector<std::int64_t> guesses = classify(classifier, x, levels.time);
    for (std::size_t i = 0; i < guesses.size(); ++i)
      right += guesses[i] == labels[i + static_cast<std::size_t>(first)];
  }
  return static_cast<double>(right) / static_cast<double>(set.count());
}

// Accuracy on the test split without noise and, for a schedule, at eleven of its timesteps.
void report(const Classifier& classifier, const data::Dataset& test, const NoiseSchedule& schedule,
            double clean, Device device) {
  app::print(stdout, "test accuracy, clean images  {:.4f}\n", clean);
  app::print(stdout, "     t  sqrt(alpha_bar)  accuracy\n");
  for (const std::int64_t t : visited_timesteps(schedule.timesteps(), 11)) {
    app::print(stdout, "{:6d}  {:15.4f}  {:8.4f}\n", t, schedule.level(t).alpha,
               accuracy(classifier, test, schedule, t, device));
  }
}

app::RunDescription describe(const Options& o, const data::Dataset& set) {
  app::RunDescription about;
  about.subject = set.name;
  about.loss = "cross-entropy";
  about.facts = {
      {"data", fmt::format("{}, {} {} images", set.name, set.count(), name_of(o.inputs))}};
  if (noisy(o)) {
    about.facts.emplace_back("process",
                             fmt::format("{} schedule, T = {}", o.schedule, o.timesteps));
  }
  about.data_bytes = set.images.bytes();
  about.rows = [&] {
    app::OptionCollector collected;
    visit(o, collected);
    collected.rows.push_back({"images_fingerprint",
                              nn::fingerprint(set.images.raw(), set.images.bytes()), app::learned});
    return collected.rows;
  };
  return about;
}

// The exit code: that of a signal, after which the weights are not the final ones.
app::ExitCode train(Options& o, Classifier& classifier, const data::Dataset& set,
                    const NoiseSchedule& schedule, const std::string& card, Device device) {
  const auto seed = static_cast<std::uint64_t>(o.seed);
  nn::FlatParameters flat(classifier, device);
  nn::Adam adam(flat, {.weight_decay = o.weight_decay});

  const data::Dataset on_device = set.to(device);
  const data::BatchSampler batches(set.count(), o.batch, seed);
  Rng flips(seed, Purpose::augment), timesteps(seed, Purpose::timestep),
      noise(seed, Purpose::noise);
  Tensor images = Tensor::zeros({o.batch}, DType::i64, device);
  Tensor labels = Tensor::zeros({o.batch}, DType::i64, device);
  Tensor draw = Tensor::zeros({1}, DType::i64, device);
  for (Rng* rng : {&flips, &timesteps, &noise}) rng->bind(draw);
  training::RunOptions run_options = app::run_options(o);
  run_options.losses = 1;  // the mean of the batch
  run_options.dataset = set.count();
  run_options.metadata = {{"classifier", card}};
  app::ProgramRun run(o, run_options, {flat, adam}, describe(o, set));

  CudaGraph step_of_training(device, [&] {
    for (Rng* rng : {&flips, &timesteps, &noise}) rng->seek(0);  // draw 0 of the step
    const Tensor x0 = data::gather_batch(on_device, images, &flips);
    Tensor loss;
    if (noisy(o)) {
      const Tensor t = randint(timesteps, 0, o.timesteps, {o.batch}, device);
      const Tensor eps = randn(noise, x0.shape(), DType::f32, device);
      const Levels levels = schedule.levels(t, x0);
      loss = cross_entropy(classifier(add_noise(x0, eps, levels), levels.time), labels);
    } else {
      loss = cross_entropy(classifier(x0), labels);
    }
    flat.zero_grad();
    backward(loss);
    const Tensor losses = reshape(loss, Shape{1});
    adam.step_if_finite({.max_norm = 1.0,
                         .losses = losses,
                         .max_consecutive_skips = training::max_consecutive_skips});
    run->record({.losses = losses, .inputs = {{"x0", x0}, {"images", images}}});
  });

  const auto make_step = [&](std::int64_t step, double rate) {
    const std::vector<std::int64_t> indices = batches.indices_at(step);
    images.assign(Tensor::from(indices, images.shape()));
    labels.assign(data::gather_labels(set, indices));
    draw.fill(static_cast<double>(step));
    adam.set_lr(rate);
    step_of_training.run();
  };

  const auto lr = run.begin([&](std::int64_t step) { make_step(step, o.lr); });
  for (std::int64_t step = run->first_step(); run->should_continue(step);) {
    make_step(step, lr(step));
    step = run->end_of_step(step, lr(step));
  }
  return run.finish();
}

app::ExitCode run(Options& o) {
  const Device device = app::choose_device(o.device, o.threads, o.quiet);
  const data::Dataset set = app::load_split(o.dataset, o.data, data::Split::train);
  const data::Dataset test = app::load_split(o.dataset, o.data, data::Split::test);
  if (o.batch > set.count()) {
    app::stop(app::ExitCode::usage, "--batch must be at most the number of images; got {} and {}",
              o.batch, set.count());
  }
  const NoiseSchedule schedule = NoiseSchedule::named(o.schedule, o.timesteps);

  ClassifierCard card;
  card.network.image_size = set.images.size(1);
  card.network.in_channels = set.images.size(3);
  card.network.classes = static_cast<std::int64_t>(set.class_names.size());
  card.network.base_channels = o.channels;
  card.inputs = o.inputs;
  card.schedule = o.schedule;
  card.timesteps = o.timesteps;
  card.dataset = o.dataset;
  card.class_names = set.class_names;
  Rng init(static_cast<std::uint64_t>(o.seed), Purpose::init);
  Classifier classifier(card.network, init);

  const app::ExitCode code = train(o, classifier, set, schedule, card.to_json(), device);
  if (code != app::ExitCode::success) return code;
  card.test_accuracy = accuracy(classifier, test, schedule, -1, device);
  app::with_exit_code(app::ExitCode::resource, [&] { save_classifier(o.out, classifier, card); });
  if (!o.quiet) report(classifier, test, schedule, card.test_accuracy, device);
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("train_classifier", [&] {
    Options options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
