// How good a trained model is: bits per dimension of images it has not seen, and how far its
// samples are from real images in the eyes of a small classifier (made by train_classifier).
//
//   evaluate --checkpoint out/train_mnist --classifier out/classifier.safetensors
//   evaluate --checkpoint out/train_mnist --bound-images 500 --json bound.json
//   evaluate --samples samples.safetensors --classifier out/classifier.safetensors
//   evaluate --features inception.safetensors
//
// A model that knows classes is asked for all of them in turn, and its samples are also judged by
// whether the classifier sees the class that was asked for.
#include <algorithm>
#include <cmath>
#include <optional>

#include "autograd/ops/layout.h"
#include "autograd/ops/random.h"
#include "data/batch.h"
#include "data/png.h"
#include "diffusion/denoiser/guidance.h"
#include "examples/app/command_line.h"
#include "examples/app/datasets.h"
#include "examples/app/device_option.h"
#include "examples/app/evaluation_report.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/judge.h"
#include "examples/app/load_model.h"
#include "examples/app/measure_bound.h"
#include "examples/app/output.h"
#include "examples/app/progress.h"
#include "examples/app/sampler_choice.h"
#include "examples/app/signals.h"
#include "nn/safetensors.h"
#include "tensor/version.h"

namespace {

using namespace ito;

const std::vector<std::string> sets = {"fashion-mnist", "mnist", "cifar10", "synthetic"};

struct Options {
  std::string checkpoint, classifier, samples, features, dataset, data, json, save, picture;
  std::string bound_variance = "beta-tilde", device = "auto";
  app::SamplerChoice sampler;
  std::int64_t bound_images = 100, bound_steps = 0, bound_draws = 0, count = 1000,
               reference = 10'000;
  std::int64_t seed = 0, batch = 100, threads = 0;
  double guidance = 1;
  bool raw = false, quiet = false;
};

void add_flags(app::CommandLine& line, Options& o) {
  line.heading("What is measured");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "run directory, checkpoint directory or safetensors file");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.add("--samples", o.samples, "FILE.safetensors",
           "judge these images (made by sample --save) instead of drawing some");
  line.add("--features", o.features, "FILE.safetensors",
           "compare features that another program made: its tensors samples and reference, [n, D]");
  line.add_choice("--dataset", o.dataset, sets,
                  "the real images (default: what the model was trained on)");
  line.add("--data", o.data, "DIR",
           "where the data set lies (default: where its package or scripts/get_data.sh puts it)");
  line.heading("Bits per dimension (needs --checkpoint)");
  line.add("--bound-images", o.bound_images, {0, 1'000'000},
           "images of the test split, T network calls each; 0: leave this out");
  line.add("--bound-steps", o.bound_steps, {0, 100'000},
           "the chain over so many of the timesteps, evenly spaced; 0: over all");
  line.add("--bound-draws", o.bound_draws, {0, 100'000},
           "estimate the sum from so many terms of each image and the decoder's, which takes so "
           "many calls in the place of T; 0: all terms");
  line.add_choice("--bound-variance", o.bound_variance,
                  {"beta", "beta-tilde", "learned", "analytic"},
                  "of its steps; analytic is estimated from as many images of the train split");
  line.heading("Samples against real images (needs --classifier)");
  line.add("--classifier", o.classifier, "FILE.safetensors", "whose features are compared");
  line.add("--count", o.count, {10, 1'000'000}, "samples to draw");
  line.add("--reference", o.reference, {10, 1'000'000},
           "images of the train split to compare with");
  line.add("--guidance", o.guidance, {0.0, 100.0},
           "for a model that knows classes, which is asked for all in turn: 0 ignores the class, "
           "1 is the model as trained, more insists");
  line.add("--seed", o.seed, {0, INT64_MAX}, "of the noise");
  line.heading("Sampler");
  app::add_sampler_flags(line, o.sampler);
  line.heading("Run");
  line.add("--json", o.json, "FILE.json", "everything, with the terms of all timesteps");
  line.add("--picture", o.picture, "FILE.png",
           "the first 100 samples, ten in a row; of a model of ten classes a column is a class");
  line.add("--save", o.save, "FILE.safetensors", "the samples as f32 [N, H, W, C] in [-1, 1]");
  line.add("--batch", o.batch, {1, 4096},
           "images computed at a time; changes memory and speed, and on cuda the last bits");
  line.add("--threads", o.threads, {0, 1024}, "threads, 0: one per core");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"}, "where to compute");
  line.add_switch("--quiet", o.quiet, "print results only");
  line.allow_config_file();
}

void expect_none(const app::CommandLine& line, const std::vector<std::string>& flags,
                 const std::string& why) {
  for (const std::string& flag : flags) {
    if (line.given(flag)) app::stop(app::ExitCode::usage, "{} {}", flag, why);
  }
}

bool parse(Options& o, int argc, char** argv) {
  app::CommandLine line("evaluate", "Measures a trained diffusion model or a set of samples.");
  add_flags(line, o);
  if (!line.parse(argc, argv)) return false;
  if (o.checkpoint.empty() && o.samples.empty() && o.features.empty()) {
    app::stop(app::ExitCode::usage,
              "--checkpoint, --samples or --features is needed: nothing to evaluate");
  }
  if (!o.features.empty()) {
    expect_none(line, {"--checkpoint", "--samples", "--classifier"},
                "and --features exclude each other");
    return true;
  }
  const std::vector<std::string> of_drawing = {"--count", "--guidance", "--sampler",
                                               "--steps", "--save",     "--picture"};
  if (!o.samples.empty()) {
    expect_none(line, of_drawing, "and --samples exclude each other: nothing is drawn");
  }
  if (o.classifier.empty()) {
    expect_none(line, {"--samples", "--reference"}, "needs --classifier");
    expect_none(line, of_drawing, "needs --classifier");
    if (o.bound_images == 0) {
      app::stop(app::ExitCode::usage,
                "--bound-images 0 without --classifier leaves nothing to evaluate");
    }
  }
  app::check_sampler_flags(line, o.sampler);
  return true;
}

// The classes that samples first, first + 1, ... are asked to show: all in turn.
Tensor labels_in_turn(std::int64_t first, std::int64_t count, std::int64_t classes) {
  std::vector<std::int64_t> labels(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    labels[static_cast<std::size_t>(i)] = (first + i) % classes;
  return Tensor::from(labels, {count});
}

data::Dataset real_images(const Options& o, const std::string& dataset, data::Split split) {
  if (std::find(sets.begin(), sets.end(), dataset) == sets.end()) {
    app::stop(app::ExitCode::usage, "--dataset is needed: this model was trained on {}", dataset);
  }
  return app::load_split(dataset, o.data, split);
}

Tensor draw(const Options& o, const Model& model, const app::SamplerPlan& plan, Device device) {
  const NoiseSchedule schedule = model.schedule();
  const std::int64_t classes = model.classes();
  app::Progress progress(o.count * plan.steps, 0, 0, o.quiet);
  std::vector<Tensor> images;
  for (std::int64_t first = 0; first < o.count; first += o.batch) {
    const std::int64_t n = std::min(o.batch, o.count - first);
    Rng rng(static_cast<std::uint64_t>(o.seed), Purpose::sample);
    rng.seek(0, static_cast<std::uint64_t>(first));
    const Tensor x_T = randn(rng, model.image_shape(n), DType::f32, device);
    const Observer watch = [&](const SampleStep& s) {
      app::expect_no_signal();
      progress.update(first * s.steps + s.step * n, NAN, 0, 0);
    };
    const Tensor labels = classes > 0 ? labels_in_turn(first, n, classes).to(device) : Tensor{};
    const Denoiser denoiser = model.denoiser({labels}, o.guidance);
    const Tensor x0 = app::run_sampler(plan, schedule, denoiser, x_T, rng, watch);
    images.push_back(x0.to(Device::cpu()));
  }
  progress.finish();
  return concat(images, 0);
}

// `count` images of a set, the same ones in every evaluation, in an order without system.
data::Dataset some_of(const data::Dataset& set, std::int64_t count) {
  std::vector<std::int64_t> order = data::BatchSampler(set.count(), 1, /*seed=*/0).order(0);
  order.resize(static_cast<std::size_t>(std::min(count, set.count())));
  return data::subset(set, order);
}

struct Samples {
  std::string name;
  Tensor images;  // f32 [N, H, W, C]
  Tensor labels;  // of the classes asked for, or undefined
};

void write(const Options& o, const Model& model, const Samples& samples) {
  const data::PngText text = {{"Software", "ito " + build::version()},
                              {"seed", std::to_string(o.seed)},
                              {"sampler", samples.name},
                              {"step", std::to_string(model.step)},
                              {"weights", model.weights},
                              {"checkpoint", model.fingerprint}};
  if (!o.save.empty()) {
    nn::save_safetensors(o.save, {{"samples", samples.images}}, {text.begin(), text.end()});
  }
  if (!o.picture.empty()) {
    const Tensor first = slice(samples.images, 0, 0, std::min<std::int64_t>(o.count, 100));
    data::write_png(o.picture, data::image_grid(first, 10), text);
  }
}

Samples drawn_samples(const Options& o, const Model& model, Device device) {
  const std::int64_t classes = model.classes();
  if (classes == 0 && o.guidance != 1.0) {
    app::stop(app::ExitCode::usage, "--guidance needs a model that knows classes; {} knows none",
              o.checkpoint);
  }
  Samples samples;
  const app::SamplerPlan plan = app::plan_sampler(o.sampler, model.card);
  samples.name = plan.text();
  if (classes > 0) {
    samples.name += fmt::format(", guidance {:g}", o.guidance);
    samples.labels = labels_in_turn(0, o.count, classes);
  }
  samples.images = draw(o, model, plan, device);
  app::with_exit_code(app::ExitCode::resource, [&] { write(o, model, samples); });
  return samples;
}

Samples read_samples(const Options& o) {
  return app::with_exit_code(app::ExitCode::bad_data, [&] {
    return Samples{o.samples, nn::load_safetensors(o.samples).at("samples"), {}};
  });
}

app::ProxyReport compare(const Options& o, const LoadedClassifier& classifier,
                         const Samples& samples, const std::string& dataset, Device device) {
  const ClassifierConfig& net = classifier.card.network;
  const Tensor made = data::to_bytes(samples.images);
  if (made.rank() != 4 || made.size(1) != net.image_size || made.size(2) != net.image_size ||
      made.size(3) != net.in_channels) {
    app::stop(app::ExitCode::usage, "--classifier {} is for images [N, {}, {}, {}]; got samples {}",
              o.classifier, net.image_size, net.image_size, net.in_channels, made.shape().str());
  }
  const data::Dataset train = some_of(real_images(o, dataset, data::Split::train), o.reference);
  const data::Dataset real = some_of(real_images(o, dataset, data::Split::test), made.size(0));
  Rng rng(static_cast<std::uint64_t>(o.seed), Purpose::noise);
  const Tensor noise = data::to_bytes(randn(rng, made.shape()));

  const app::Judge judge(classifier, train.images, device, o.batch);
  return {fmt::format("{} ({})", o.classifier, classifier.fingerprint),
          classifier.card.test_accuracy,
          net.features(),
          train.count(),
          {judge.row("samples: " + samples.name, made, samples.labels),
           judge.row("floor: real images of the test split", real.images, real.labels),
           judge.row("pure noise", noise)}};
}

app::ProxyReport compare_files_features(const Options& o) {
  return app::with_exit_code(app::ExitCode::bad_data, [&] {
    const nn::SafeTensors file = nn::load_safetensors(o.features);
    const Tensor &samples = file.at("samples"), &reference = file.at("reference");
    app::ProxyReport report;
    app::Progress progress(1000, 0, 0, o.quiet);
    report.rows = {app::compare_features("samples", samples, reference, [&](double share) {
      progress.update(static_cast<std::int64_t>(1000 * share), NAN, 0, 0);
      app::expect_no_signal();
    })};
    progress.finish();
    report.features = samples.size(1);
    report.reference = reference.size(0);
    return report;
  });
}

app::EvaluationReport evaluate(const Options& o) {
  app::EvaluationReport report;
  if (!o.features.empty()) {
    app::catch_signals();
    report.facts = {{"features", o.features}};
    report.proxy = compare_files_features(o);
    return report;
  }
  const Device device = app::choose_device(o.device, o.threads, o.quiet);
  std::optional<Model> model;
  std::optional<LoadedClassifier> classifier;
  if (!o.classifier.empty()) classifier = app::load_classifier(o.classifier, device);
  if (!o.checkpoint.empty()) {
    model = app::load_model(o.checkpoint, o.raw, device);
    report.facts = {{"model", o.checkpoint},
                    {"weights", fmt::format("{} of step {}, {}", model->weights, model->step,
                                            model->fingerprint)},
                    {"trained on", model->card.dataset}};
  }
  const std::string dataset = !o.dataset.empty() ? o.dataset
                              : model            ? model->card.dataset
                                                 : classifier->card.dataset;
  report.facts.emplace_back("real images", dataset);
  app::catch_signals();
  if (model && o.bound_images > 0) {
    const app::BoundRequest request{o.bound_images, o.bound_steps, o.bound_draws, o.bound_variance,
                                    o.seed,         o.batch,       o.quiet};
    report.bound = app::measure_bound(
        *model, [&](data::Split split) { return real_images(o, dataset, split); }, request, device);
  }
  if (classifier) {
    const Samples samples = o.samples.empty() ? drawn_samples(o, *model, device) : read_samples(o);
    report.proxy = compare(o, *classifier, samples, dataset, device);
  }
  return report;
}

app::ExitCode run(const Options& o) {
  app::expect_output("--json", o.json);
  app::expect_output("--picture", o.picture, ".png");
  app::expect_output("--save", o.save);
  const app::EvaluationReport report = evaluate(o);
  app::print(stdout, "{}", report.to_text());
  if (!o.json.empty()) {
    app::with_exit_code(app::ExitCode::resource,
                        [&] { app::write_text(o.json, report.to_json()); });
  }
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("evaluate", [&] {
    Options options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
