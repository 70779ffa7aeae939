// Gets images back from a file that compress made, with the same trained model.
//
//   decompress --checkpoint out/train_mnist coat.ito --out coat.png
//   decompress --checkpoint out/train_mnist sixteen.ito --out folder --grid all.png
#include <filesystem>

#include "data/png.h"
#include "diffusion/likelihood/codec/container.h"
#include "examples/app/codec_model.h"
#include "examples/app/command_line.h"
#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/load_model.h"
#include "examples/app/output.h"
#include "ito.h"

namespace {

using namespace ito;
namespace fs = std::filesystem;

struct DecompressOptions {
  std::string checkpoint, input, out, grid, device = "cpu";
  std::int64_t threads = 0, scale = 2;
  bool raw = false, quiet = false;
};

bool parse(DecompressOptions& o, int argc, char** argv) {
  app::CommandLine line("decompress", "Gets images back from a file that compress made.");
  line.add_positional("FILE.ito", o.input, "the compressed images");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "the model that they were compressed with (needed)");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.add("--out", o.out, "DIR|FILE.png",
           "folder for 000000.png, 000001.png, ...; or a file for a single image");
  line.add("--grid", o.grid, "FILE.png", "all images in one picture");
  line.add("--scale", o.scale, {1, 16}, "the grid shows a pixel as this many squared");
  line.add("--threads", o.threads, {0, 1024}, "threads, 0: one per core");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"},
                  "where to compute: as compress did");
  line.add_switch("--quiet", o.quiet, "print errors only");
  for (const char* flag : {"FILE.ito", "--checkpoint"}) line.require(flag);
  if (!line.parse(argc, argv)) return false;
  if (o.out.empty() && o.grid.empty()) {
    app::stop(app::ExitCode::usage, "--out or --grid says where to write; got none");
  }
  return true;
}

void write(const DecompressOptions& o, const Tensor& images) {
  const bool file = app::extension_of(o.out) == ".png";
  if (file && images.size(0) > 1) {
    app::stop(app::ExitCode::usage, "--out {}: must be a folder for {} images", o.out,
              images.size(0));
  }
  if (!o.out.empty() && !file) fs::create_directories(o.out);
  const Shape one{images.size(1), images.size(2), images.size(3)};
  for (std::int64_t n = 0; n < images.size(0) && !o.out.empty(); ++n) {
    const fs::path path = file ? fs::path(o.out) : fs::path(o.out) / fmt::format("{:06}.png", n);
    data::write_png(path, images.view(one, n * one.numel()));
  }
  if (!o.grid.empty()) {
    data::write_png(o.grid, data::upscale(data::image_grid(images), o.scale));
  }
}

app::ExitCode run(const DecompressOptions& o) {
  if (app::extension_of(o.out) == ".png") app::expect_output("--out", o.out);
  app::expect_output("--grid", o.grid, ".png");
  const codec::Container file = app::with_exit_code(app::ExitCode::bad_data, [&] {
    return codec::Container::parse(data::read_file(o.input, std::uint64_t{1} << 32), o.input);
  });
  const Device device = app::choose_device(o.device, o.threads, o.quiet);
  const Model model = app::load_model(o.checkpoint, o.raw, device);
  const Tensor images = app::with_exit_code(app::ExitCode::bad_data, [&] {
    codec::expect_network(file, app::fingerprint_number(model), o.input);
    const NoiseSchedule schedule = app::schedule_to_send(model, file.steps);
    return codec::unpack(file, schedule, model.denoiser(), o.input, device);
  });
  app::with_exit_code(app::ExitCode::resource, [&] { write(o, images); });
  if (!o.quiet) {
    app::print(stderr, "{} images of {} x {}, {}\n", images.size(0), images.size(2), images.size(1),
               file.message.settings.last < 0 ? "every byte as it was" : "not exact");
  }
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("decompress", [&] {
    DecompressOptions options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
