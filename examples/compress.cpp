// Compresses images with a trained diffusion model, without loss or up to a chosen step.
//
//   compress --checkpoint out/train_mnist coat.png --out coat.ito
//   compress --checkpoint out/train_mnist --dataset fashion-mnist --count 16 --out sixteen.ito
//   decompress --checkpoint out/train_mnist sixteen.ito --out folder
//
// The receiver needs the same weights, build and kind of machine. Files hold pixels, not names.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "data/png.h"
#include "diffusion/likelihood/codec/container.h"
#include "examples/app/codec_model.h"
#include "examples/app/command_line.h"
#include "examples/app/datasets.h"
#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/load_model.h"
#include "examples/app/output.h"
#include "examples/app/progress.h"
#include "examples/app/signals.h"
#include "examples/app/svg_plot.h"
#include "ito.h"

namespace {

using namespace ito;
namespace fs = std::filesystem;

struct CompressOptions {
  std::string checkpoint, input, dataset, data, out, curve, plot;
  std::string variance = "analytic", device = "cpu";
  std::int64_t first = 0, count = 16, steps = 20, leave_out = 0, group = 16, seed = 0, threads = 0;
  double block_bits = 10;
  bool raw = false, quiet = false;
};

bool parse(CompressOptions& o, int argc, char** argv) {
  app::CommandLine line("compress", "Compresses images with a trained diffusion model.");
  line.heading("Model");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "run directory, checkpoint directory or safetensors file (needed)");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.heading("Images");
  line.add_positional("IMAGES", o.input, "a PNG of the model's size, or a folder of them");
  line.add_choice("--dataset", o.dataset, {"mnist", "fashion-mnist", "cifar10", "synthetic"},
                  "images of its test split instead of IMAGES");
  line.add("--data", o.data, "DIR", "folder of the data set; default: where its package puts it");
  line.add("--first", o.first, {0, 1'000'000}, "number of the first image of the data set");
  line.add("--count", o.count, {1, 100'000}, "how many images of the data set");
  line.heading("Message");
  line.add("--steps", o.steps, {1, 100'000}, "denoising steps to send");
  line.add("--leave-out", o.leave_out, {0, 100'000},
           "send all but so many of the last steps: smaller and not exact; 0: exact");
  line.add_choice("--variance", o.variance, {"analytic", "beta", "beta-tilde", "learned"},
                  "of the steps; analytic: the best for each image and step, sent with it");
  line.add("--block-bits", o.block_bits, {1.0, 16.0},
           "bits per block; each more is smaller and takes twice as long");
  line.add("--group", o.group, {1, 4096}, "images that the network is given at a time");
  line.add("--seed", o.seed, {0, INT64_MAX}, "of the random numbers that both sides draw");
  line.heading("Output");
  line.add("--out", o.out, "FILE.ito", "the compressed images (needed)");
  line.add("--curve", o.curve, "FILE.csv", "rate and distortion after every step");
  line.add("--plot", o.plot, "FILE.svg", "the same as a picture");
  line.heading("Run");
  line.add("--threads", o.threads, {0, 1024}, "threads, 0: one per core");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"},
                  "where to compute; decompress must do it there too");
  line.add_switch("--quiet", o.quiet, "print errors only");
  for (const char* flag : {"--checkpoint", "--out"}) line.require(flag);
  if (!line.parse(argc, argv)) return false;
  if (o.input.empty() == o.dataset.empty()) {
    app::stop(app::ExitCode::usage, "either IMAGES or --dataset says what to compress; got {}",
              o.input.empty() ? "none" : "both");
  }
  if (o.leave_out > o.steps) {
    app::stop(app::ExitCode::usage, "--leave-out must be at most --steps, {}; got {}", o.steps,
              o.leave_out);
  }
  return true;
}

// A picture with `channels`. One without colour may be stored as RGB or with a palette: it is taken
// for grey when that loses nothing.
Tensor read_png_as(const fs::path& path, std::int64_t channels) {
  const Tensor image = data::read_png(path);
  if (image.size(2) == channels) return image;
  if (channels == 3) return data::read_png(path, 3);
  const Tensor grey = data::read_png(path, 1);
  const std::vector<std::uint8_t> rgb = image.to_vector<std::uint8_t>(),
                                  y = grey.to_vector<std::uint8_t>();
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    if (rgb[i] != y[i / 3]) return image;  // has colours
  }
  return grey;
}

Tensor read_image(const fs::path& path, const Shape& shape) {
  const Tensor image = read_png_as(path, shape[3]);
  if (image.shape() != Shape{shape[1], shape[2], shape[3]}) {
    app::stop(app::ExitCode::bad_data,
              "{}: the model's images are {} x {} with {} channels; got {} x {} with {}",
              path.string(), shape[2], shape[1], shape[3], image.size(1), image.size(0),
              image.size(2));
  }
  return image.view(shape);
}

// u8 [N, H, W, C]; `shape` is that of one of the model's images.
Tensor read_images(const CompressOptions& o, const Shape& shape) {
  if (!o.dataset.empty()) {
    const data::Dataset set = app::load_split(o.dataset, o.data, data::Split::test);
    if (set.images.shape().with(0, 1) != shape) {
      app::stop(app::ExitCode::bad_data, "--dataset {}: the model's images are {}; got {}",
                o.dataset, shape.str(), set.images.shape().with(0, 1).str());
    }
    if (o.first + o.count > set.count()) {
      app::stop(app::ExitCode::usage,
                "--first and --count must stay within {} images; got {} and {}", set.count(),
                o.first, o.count);
    }
    return slice(set.images, 0, o.first, o.first + o.count);
  }
  if (!fs::exists(o.input)) {
    app::stop(app::ExitCode::bad_data, "{}: no such file or directory", o.input);
  }
  if (!fs::is_directory(o.input)) return read_image(o.input, shape);
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(o.input)) {
    if (app::extension_of(entry.path().string()) == ".png") paths.push_back(entry.path());
  }
  if (paths.empty()) app::stop(app::ExitCode::bad_data, "{}: no .png in it", o.input);
  std::sort(paths.begin(), paths.end());
  std::vector<Tensor> images;
  for (const fs::path& path : paths) images.push_back(read_image(path, shape));
  return concat(images, 0);
}

// What was known after each step, over all groups.
struct Point {
  double divergence = 0, bits = 0, square = 0;
};
using Curve = std::map<std::int64_t, Point, std::greater<>>;  // from T - 1 down to -1

void write_curve(const CompressOptions& o, const Curve& curve, std::int64_t images,
                 double elements) {
  std::string csv = "timestep,divergence_bits_per_dim,sent_bits_per_dim,rmse_of_255\n";
  app::Series sent{"sent", "#c0392b", {}, {}}, ideal{"divergence", "#2c7fb8", {}, {}};
  for (const auto& [t, point] : curve) {
    const double rmse = 127.5 * std::sqrt(point.square / static_cast<double>(images));
    csv += fmt::format("{},{:.6f},{:.6f},{:.4f}\n", t, point.divergence / elements,
                       point.bits / elements, rmse);
    for (app::Series* series : {&sent, &ideal}) series->y.push_back(rmse);
    sent.x.push_back(point.bits / elements);
    ideal.x.push_back(point.divergence / elements);
  }
  if (!o.curve.empty()) app::write_text(o.curve, csv);
  if (!o.plot.empty()) {
    app::PlotOptions plot;
    plot.title = fmt::format("Rate and distortion, {} images in {} steps", images, o.steps);
    plot.x_label = "bits per dimension";
    plot.y_label = "RMSE on 0 to 255";
    app::write_text(o.plot, app::line_plot({sent, ideal}, plot));
  }
}

std::int64_t png_bytes(const Tensor& images) {
  std::size_t bytes = 0;
  for (std::int64_t n = 0; n < images.size(0); ++n) {
    const Shape one{images.size(1), images.size(2), images.size(3)};
    bytes += data::encode_png(images.view(one, n * one.numel())).size();
  }
  return static_cast<std::int64_t>(bytes);
}

app::ExitCode run(const CompressOptions& o) {
  app::expect_output("--out", o.out);
  app::expect_output("--curve", o.curve);
  app::expect_output("--plot", o.plot);
  const Device device = app::choose_device(o.device, o.threads, o.quiet);
  const Model model = app::load_model(o.checkpoint, o.raw, device);
  const NoiseSchedule schedule = app::schedule_to_send(model, o.steps);
  const Shape one = model.image_shape(1);
  const Tensor images =
      app::with_exit_code(app::ExitCode::bad_data, [&] { return read_images(o, one); });

  codec::Settings settings;
  settings.seed = static_cast<std::uint64_t>(o.seed);
  settings.group = std::min(o.group, images.size(0));
  settings.last = o.leave_out - 1;
  settings.variance = enum_from_name<ReverseVariance>(o.variance);
  const std::int64_t left = o.leave_out == 0 ? -1 : settings.last;
  app::catch_signals();
  app::Progress progress(images.size(0) * (o.steps - left), 0, 0, o.quiet);
  Curve curve;
  const auto watch = [&](const codec::Progress& p) {
    Point& point = curve[p.t];
    point.divergence += p.divergence;
    point.bits += p.bits;
    point.square += p.mean_square * static_cast<double>(p.count);
    progress.update(p.first * (o.steps - left) + p.count * (o.steps - p.t), NAN, 0, 0);
    app::expect_no_signal();
  };
  codec::Container file;
  file.message = codec::send(schedule, model.denoiser(), images, settings,
                             {.block_bits = o.block_bits, .observer = watch}, device);
  progress.finish();
  file.steps = o.steps;
  file.fingerprint = app::fingerprint_number(model);
  file.probe = codec::probe(schedule, model.denoiser(), one, device);
  if (o.leave_out == 0) file.images_crc = codec::crc32_of(images);

  const auto bytes = file.bytes();
  const auto elements = static_cast<double>(images.numel());
  app::with_exit_code(app::ExitCode::resource, [&] {
    data::write_file(o.out, bytes);
    write_curve(o, curve, images.size(0), elements);
  });
  if (!o.quiet) {
    app::print(stderr,
               "{} images in {} bytes: {:.3f} bits per dimension, of which the divergence is "
               "{:.3f}; as PNG {} bytes\n",
               images.size(0), bytes.size(), 8.0 * static_cast<double>(bytes.size()) / elements,
               curve.rbegin()->second.divergence / elements, png_bytes(images));
  }
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("compress", [&] {
    CompressOptions options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
