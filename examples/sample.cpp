// Draws images from a trained model. Needs nothing but the checkpoint, which carries its
// configuration.
//
//   sample --checkpoint out/train_mnist --count 64 --out samples.png
//   sample --checkpoint model.safetensors --sampler ddpm --trajectory denoising.png
//   sample --checkpoint out/classes --class 3 --guidance 3 --out threes.png
//   sample --checkpoint out/train_mnist --classifier noisy.safetensors --class 3 --out threes.png
//   sample --checkpoint out/train_mnist --interpolate 0,5 --out between.png
//   sample --checkpoint out/train_mnist --invert photo.png --out there_and_back.png
//
// Image i depends on the seed and i alone, however the work is cut into batches.
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <exception>

#include "data/batch.h"
#include "data/png.h"
#include "diffusion/sampling/interpolate.h"
#include "examples/app/command_line.h"
#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/load_model.h"
#include "examples/app/output.h"
#include "examples/app/progress.h"
#include "examples/app/sampler_choice.h"
#include "examples/app/signals.h"
#include "ito.h"
#include "nn/safetensors.h"

namespace {

using namespace ito;

struct SampleOptions {
  std::string checkpoint, out = "samples.png", trajectory, save;
  std::string device = "auto", dtype = "f32";
  std::string asked_class, classifier, interpolate, invert, x_T;
  app::SamplerChoice sampler;
  double guidance = 1.0;
  std::int64_t count = 64, seed = 0, batch = 64, columns = 0, scale = 2, threads = 0;
  bool raw = false, quiet = false, list = false;
};

// What excludes what; the sampler's own flags are checked by check_sampler_flags.
void check(const app::CommandLine& line, const SampleOptions& o) {
  const bool one_path = !o.interpolate.empty() || !o.invert.empty();
  app::check_sampler_flags(line, o.sampler);
  if (o.checkpoint.empty()) app::stop(app::ExitCode::usage, "--checkpoint is needed");
  if (line.given("--guidance") && o.asked_class.empty()) {
    app::stop(app::ExitCode::usage, "--guidance leads to a class: it needs --class");
  }
  if (!o.classifier.empty() && o.asked_class.empty()) {
    app::stop(app::ExitCode::usage, "--classifier leads to a class: it needs --class");
  }
  if (!o.interpolate.empty() && !o.invert.empty()) {
    app::stop(app::ExitCode::usage, "--interpolate and --invert exclude each other");
  }
  if (!o.x_T.empty() && (one_path || line.given("--count"))) {
    app::stop(app::ExitCode::usage,
              "--x-T brings its own noise and number of images: it takes no --count, --interpolate "
              "or --invert");
  }
  if (!o.invert.empty() && line.given("--count")) {
    app::stop(app::ExitCode::usage, "--invert is about one image: it takes no --count");
  }
  if (!o.interpolate.empty() && o.count == 1) {
    app::stop(app::ExitCode::usage, "--interpolate shows both ends: --count must be at least 2");
  }
  if (one_path && o.asked_class == "all") {
    app::stop(app::ExitCode::usage,
              "--class all is for samples; with --interpolate or --invert "
              "name one class");
  }
}

bool parse(SampleOptions& o, int argc, char** argv) {
  app::CommandLine line("sample", "Draws images from a trained diffusion model.");
  line.heading("Model");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "run directory, checkpoint directory or safetensors file (needed)");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.heading("Sampler");
  app::add_sampler_flags(line, o.sampler);
  line.add("--seed", o.seed, {0, INT64_MAX}, "of the noise; equal seeds give equal images");
  line.add_switch("--list", o.list, "explain the samplers and end");
  line.heading("What to draw");
  line.add("--class", o.asked_class, "CLASS",
           "of a model trained on classes, or of --classifier: a number, a name, or all in turn; "
           "without: any");
  line.add("--guidance", o.guidance, {0.0, 100.0},
           "how strongly to keep to the class: 0 not at all, 1 as trained, above 1 more so "
           "(classifier-free guidance; w + 1 where papers write w)");
  line.add("--classifier", o.classifier, "FILE.safetensors",
           "lead a model by the gradients of this classifier of its noisy images (train_classifier "
           "--inputs noisy) instead; --guidance is their scale");
  line.add("--interpolate", o.interpolate, "A,B",
           "go from image A to image B through their noise: two numbers of images of this seed, or "
           "two PNG files; --count images in all, 10 if not given");
  line.add("--invert", o.invert, "FILE.png",
           "find the noise of this image; shows the image, its noise, and the image that comes of "
           "it. Without --steps in 100 steps");
  line.add("--x-T", o.x_T, "FILE.safetensors",
           "start from this noise, its tensor x_T [N, H, W, C] as --save writes it, and draw N "
           "images");
  line.heading("Output");
  line.add("--count", o.count, {1, 100'000}, "images");
  line.add("--out", o.out, "FILE.png", "grid of all images");
  line.add("--trajectory", o.trajectory, "FILE.png",
           "animated PNG of the denoising, up to 64 images");
  line.add("--save", o.save, "FILE.safetensors",
           "the images (samples) and their noise (x_T) as f32 [N, H, W, C]; images in [-1, 1]");
  line.add("--columns", o.columns, {0, 1000}, "images per row of the grid; 0: nearest to a square");
  line.add("--scale", o.scale, {1, 16}, "pictures show a pixel as this many squared");
  line.heading("Run");
  line.add("--batch", o.batch, {1, 4096},
           "images computed at a time; changes memory and speed, and on cuda the last bits");
  line.add("--threads", o.threads, {0, 1024}, "threads, 0: one per core");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"}, "where to compute");
  line.add_choice("--dtype", o.dtype, {"f32", "bf16"}, "of the network; bf16 needs cuda");
  line.add_switch("--quiet", o.quiet, "print errors only");
  line.allow_config_file();
  if (!line.parse(argc, argv)) return false;
  if (o.list) {
    app::print(stdout, "{}", app::list_of_samplers());
    return false;
  }
  check(line, o);
  if (!o.invert.empty()) o.count = 1;
  if (!o.interpolate.empty() && !line.given("--count")) o.count = 10;
  return true;
}

// A run of the program: the model, and what is asked of it.
struct Job {
  const SampleOptions& o;
  const Model& model;
  NoiseSchedule schedule;
  app::SamplerPlan plan;
  Device device;
  LoadedClassifier classifier;  // without a network unless --classifier was given

  std::int64_t classes() const {
    return classifier.network ? classifier.card.network.classes : model.classes();
  }
  const std::vector<std::string>& class_names() const {
    return classifier.network ? classifier.card.class_names : model.card.class_names;
  }
};

// What --classifier names, when it knows the noisy images of this model.
LoadedClassifier load_classifier(const SampleOptions& o, const ModelCard& model, Device device) {
  if (o.classifier.empty()) return {};
  LoadedClassifier loaded = app::load_classifier(o.classifier, device);
  const ClassifierCard& card = loaded.card;
  if (card.inputs != ClassifierInputs::noisy || card.schedule != model.schedule ||
      card.timesteps != model.timesteps || card.network.image_size != model.network.image_size ||
      card.network.in_channels != model.network.in_channels) {
    app::stop(app::ExitCode::checkpoint,
              "--classifier {}: must know the noisy images of this model, {} x {} x {} with {} {} "
              "timesteps; got {} images, {} x {} x {} with {} {}",
              o.classifier, model.network.image_size, model.network.image_size,
              model.network.in_channels, model.timesteps, model.schedule, name_of(card.inputs),
              card.network.image_size, card.network.image_size, card.network.in_channels,
              card.timesteps, card.schedule);
  }
  return loaded;
}

// --class as a number; -1: all in turn.
std::int64_t class_number(const Job& job) {
  const std::string& asked = job.o.asked_class;
  const std::vector<std::string>& names = job.class_names();
  if (asked == "all") return -1;
  const auto name = std::find(names.begin(), names.end(), asked);
  if (name != names.end()) return name - names.begin();
  std::int64_t number = -1;
  const char* end = asked.data() + asked.size();
  const auto [rest, error] = std::from_chars(asked.data(), end, number);
  if (error != std::errc{} || rest != end || number < 0 || number >= job.classes()) {
    app::stop(app::ExitCode::usage, "--class must be all, a number from 0 to {}{}; got \"{}\"",
              job.classes() - 1,
              names.empty() ? "" : fmt::format(" or one of {}", fmt::join(names, ", ")), asked);
  }
  return number;
}

// The denoiser for images first .. first + n - 1.
Denoiser denoiser_for(const Job& job, std::int64_t first, std::int64_t n) {
  if (job.o.asked_class.empty()) return job.model.denoiser();
  const Classifier* classifier = job.classifier.network.get();
  const std::int64_t classes = job.classes();
  if (classes == 0) {
    app::stop(app::ExitCode::usage,
              "{}: this network was trained without classes, none can be asked for",
              job.model.source);
  }
  const std::int64_t asked = class_number(job);
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = first; i < first + n; ++i) {
    numbers.push_back(asked == -1 ? i % classes : asked);
  }
  const Tensor labels = Tensor::from(numbers, {n}).to(job.device);
  if (!classifier) return job.model.denoiser({labels}, job.o.guidance);
  return shifted(job.model.denoiser(),
                 classifier_guidance(std::cref(*classifier), labels, job.o.guidance));
}

// The noise of image `number` of this seed.
Tensor noise_of(const Job& job, std::int64_t number, std::int64_t n) {
  Rng rng(static_cast<std::uint64_t>(job.o.seed), Purpose::sample);
  rng.seek(0, static_cast<std::uint64_t>(number));
  return randn(rng, job.model.image_shape(n));
}

// What --x-T names.
Tensor read_noise(const SampleOptions& o, const Model& model) {
  return app::with_exit_code(app::ExitCode::bad_data, [&] {
    const Tensor x_T = nn::load_safetensors(o.x_T).at("x_T");
    const Shape wanted = model.image_shape(x_T.rank() == 4 ? x_T.size(0) : 1);
    if (x_T.dtype() != DType::f32 || x_T.shape() != wanted || x_T.size(0) < 1) {
      fail<FormatError>("{}: x_T must be f32[N, {}, {}, {}]; got {}", o.x_T, wanted[1], wanted[2],
                        wanted[3], x_T.str());
    }
    return x_T;
  });
}

Tensor read_image(const Job& job, const char* flag, const std::string& file) {
  const Shape wanted = job.model.image_shape(1);
  const Tensor image = app::with_exit_code(
      app::ExitCode::bad_data, [&] { return data::read_png(file, static_cast<int>(wanted[3])); });
  if (image.size(0) != wanted[1] || image.size(1) != wanted[2]) {
    app::stop(app::ExitCode::bad_data,
              "{} {}: this model draws {} x {} pixels; the file has {} x {}", flag, file, wanted[1],
              wanted[2], image.size(1), image.size(0));
  }
  return data::from_bytes(image.view(wanted));
}

// The noise that the sampler turns into this image.
Tensor encode(const Job& job, const Tensor& image) {
  const std::vector<Level> levels = app::levels_of(job.plan, job.schedule);
  return encode_ddim(denoiser_for(job, 0, 1), image.to(job.device), levels,
                     {.graph = !job.o.sampler.no_graph})
      .to(Device::cpu());
}

// --interpolate A,B as the noise of its ends.
std::pair<Tensor, Tensor> ends_of_path(const Job& job) {
  const std::string& text = job.o.interpolate;
  const auto comma = text.find(',');
  const std::string names[] = {text.substr(0, comma),
                               comma == std::string::npos ? "" : text.substr(comma + 1)};
  Tensor noise[2];
  for (int i = 0; i < 2; ++i) {
    const std::string& name = names[i];
    if (app::extension_of(name) == ".png") {
      noise[i] = encode(job, read_image(job, "--interpolate", name));
      continue;
    }
    std::int64_t number = -1;
    const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc{} || rest != name.data() + name.size() || number < 0) {
      app::stop(app::ExitCode::usage,
                "--interpolate must be A,B, each the number of an image or a .png file; got \"{}\"",
                text);
    }
    noise[i] = noise_of(job, number, 1);
  }
  return {noise[0], noise[1]};
}

// Where the images start: x_T [count, H, W, C].
Tensor starting_noise(const Job& job) {
  if (!job.o.invert.empty()) return encode(job, read_image(job, "--invert", job.o.invert));
  if (!job.o.x_T.empty()) return read_noise(job.o, job.model);
  if (job.o.interpolate.empty()) return noise_of(job, 0, job.o.count);
  const auto [a, b] = ends_of_path(job);
  std::vector<Tensor> path;
  for (std::int64_t i = 0; i < job.o.count; ++i) {
    path.push_back(slerp(a, b, static_cast<double>(i) / static_cast<double>(job.o.count - 1)));
  }
  return concat(path, 0);
}

// Which steps become frames of the animation: at most 50, evenly, and always the last.
bool is_frame(std::int64_t step, std::int64_t steps) {
  const std::int64_t frames = std::min<std::int64_t>(steps, 50);
  return step * frames / steps != (step - 1) * frames / steps;
}

struct Drawn {
  Tensor x_T, images;          // f32 [N, H, W, C]
  std::vector<Tensor> frames;  // x_t on the way, each like `images`, of the first images
  std::exception_ptr stopped;  // by a signal or an error, after these images
};

Drawn draw(const Job& job, app::Progress& progress) {
  const SampleOptions& o = job.o;
  const std::int64_t animated = o.trajectory.empty() ? 0 : std::min<std::int64_t>(o.count, 64);
  const Tensor x_T = starting_noise(job);
  std::vector<Tensor> images;
  std::exception_ptr stopped;
  std::vector<std::vector<Tensor>> frames;  // by frame, then by batch
  for (std::int64_t first = 0; first < o.count; first += o.batch) {
    const std::int64_t n = std::min(o.batch, o.count - first);
    const Tensor start = slice(x_T, 0, first, first + n).to(job.device);
    Rng rng(static_cast<std::uint64_t>(o.seed), Purpose::sample);
    rng.seek(0, static_cast<std::uint64_t>(first));
    const std::int64_t show = std::clamp<std::int64_t>(animated - first, 0, n);
    const auto keep = [&](std::size_t frame, const Tensor& x) {
      if (show == 0) return;
      if (frames.size() <= frame) frames.resize(frame + 1);
      frames[frame].push_back(slice(x, 0, 0, show).to(Device::cpu()));
    };
    keep(0, start);
    std::size_t frame = 1;
    const Observer watch = [&](const SampleStep& s) {
      if (is_frame(s.step, s.steps)) keep(frame++, s.x_next);
      progress.update(first * s.steps + s.step * n, NAN, 0, 0);
      app::expect_no_signal();
    };
    try {
      images.push_back(
          app::run_sampler(job.plan, job.schedule, denoiser_for(job, first, n), start, rng, watch)
              .to(Device::cpu()));
    } catch (...) {
      stopped = std::current_exception();
      break;
    }
  }
  if (images.empty()) std::rethrow_exception(stopped);
  Drawn drawn{x_T, concat(images, 0), {}, stopped};
  if (stopped) {
    drawn.x_T = slice(x_T, 0, 0, drawn.images.size(0));
    return drawn;
  }
  for (const auto& frame : frames) drawn.frames.push_back(concat(frame, 0));
  return drawn;
}

// A grid; one image alone has no margin, so that --invert can read it.
Tensor picture(const SampleOptions& o, const Tensor& images) {
  const Tensor grid =
      images.size(0) > 1
          ? data::image_grid(images, o.columns)
          : data::to_bytes(images.view({images.size(1), images.size(2), images.size(3)}));
  return data::upscale(grid, o.scale);
}

// With --invert: the image, its noise and what comes of it, and how far that is from the image.
Tensor there_and_back(const Job& job, const Drawn& drawn) {
  const Tensor image = read_image(job, "--invert", job.o.invert);
  const double error = mean(square(drawn.images - image)).item();
  if (!job.o.quiet) {
    app::print(stderr, "{} comes back with a mean squared error of {:.2e}: {:.1f} dB\n",
               job.o.invert, error, 10.0 * std::log10(4.0 / error));
  }
  return concat({image, clamp(drawn.x_T / 3.0, -1.0, 1.0), drawn.images}, 0);
}

void write(const Job& job, const Drawn& drawn) {
  const SampleOptions& o = job.o;
  data::PngText text = {{"Software", "ito " + build::version()},
                        {"seed", std::to_string(o.seed)},
                        {"sampler", job.plan.text()},
                        {"step", std::to_string(job.model.step)},
                        {"weights", job.model.weights},
                        {"checkpoint", job.model.fingerprint}};
  if (!o.asked_class.empty()) {
    text.emplace_back("class", o.asked_class);
    text.emplace_back("guidance", fmt::format("{}", o.guidance));
  }
  if (job.classifier.network) text.emplace_back("classifier", job.classifier.fingerprint);
  if (!o.save.empty()) {
    nn::save_safetensors(o.save, {{"samples", drawn.images}, {"x_T", drawn.x_T}},
                         {text.begin(), text.end()});
  }
  data::write_png(o.out, picture(o, o.invert.empty() ? drawn.images : there_and_back(job, drawn)),
                  text);
  if (!drawn.frames.empty()) {
    std::vector<Tensor> frames;
    for (const Tensor& frame : drawn.frames) {
      const Tensor p = picture(o, frame);
      frames.push_back(p.view({1, p.size(0), p.size(1), p.size(2)}));
    }
    data::write_apng(o.trajectory, concat(frames, 0), {}, text);
  }
}

// What --out would be: --count images in a grid, each pixel --scale squared.
void expect_picture_fits(const SampleOptions& o, const Shape& image) {
  const auto [height, width] = data::grid_size(o.count, image[1], image[2], o.columns);
  const double pixels =
      static_cast<double>(height * o.scale) * static_cast<double>(width * o.scale);
  if (pixels <= static_cast<double>(data::max_png_pixels)) return;
  app::stop(app::ExitCode::usage,
            "--out {}: {} images with --scale {} make a picture of {} x {} pixels, more than {} in "
            "all; lower --scale or --count, or draw them in parts",
            o.out, o.count, o.scale, width * o.scale, height * o.scale, data::max_png_pixels);
}

app::ExitCode run(SampleOptions& o) {
  app::expect_output("--out", o.out, ".png");
  app::expect_output("--trajectory", o.trajectory, ".png");
  app::expect_output("--save", o.save);
  const Device device = app::choose_device(o.device, o.threads, o.quiet);
  const DType dtype = app::choose_dtype(o.dtype, device);
  const Model model = app::load_model(o.checkpoint, o.raw, device, dtype);
  if (!o.x_T.empty()) o.count = read_noise(o, model).size(0);
  expect_picture_fits(o, model.image_shape(1));
  const NoiseSchedule schedule = model.schedule();
  app::SamplerChoice choice = o.sampler;
  if (!o.invert.empty() && choice.steps == 0) {  // the way to x_T is of first order
    choice.steps = std::min<std::int64_t>(100, schedule.timesteps());
  }
  const app::SamplerPlan plan = app::plan_sampler(choice, model.card);
  const Job job{o, model, schedule, plan, device, load_classifier(o, model.card, device)};
  const bool one_path = !o.interpolate.empty() || !o.invert.empty();
  if (one_path && !job.plan.deterministic) {
    app::stop(app::ExitCode::usage,
              "{} needs a sampler without noise of its own: ddim with --eta 0, euler, heun with "
              "--churn 0, dpmpp2m or unipc; got {}",
              o.invert.empty() ? "--interpolate" : "--invert", job.plan.text());
  }
  if (plan.choice.variance == "learned" && plan.choice.name == "ddpm" && !model.learns_variance()) {
    app::stop(app::ExitCode::usage,
              "--variance learned: this model learned none; use beta or "
              "beta-tilde");
  }
  app::catch_signals();
  app::Progress progress(o.count * job.plan.steps, 0, 0, o.quiet);
  const Drawn drawn = draw(job, progress);
  progress.finish();
  app::with_exit_code(app::ExitCode::resource, [&] { write(job, drawn); });
  if (drawn.stopped) {
    app::print(stderr, "{} of {} images were ready and are in {}\n", drawn.images.size(0), o.count,
               o.out);
    std::rethrow_exception(drawn.stopped);
  }
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
