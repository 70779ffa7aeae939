// Between ito's files and the folders of diffusers (UNet2DModel in a DDPMPipeline).
//
//   convert --to diffusers --checkpoint out/train_mnist --out garments
//   convert --to ito --checkpoint ddpm-cifar10-32 --out ddpm-cifar10-32.safetensors
//
// In Python: DDPMPipeline.from_pretrained("garments")().images[0]
#include "diffusion/models/diffusers_format.h"
#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/load_model.h"
#include "examples/app/output.h"
#include "ito.h"
#include "nn/safetensors.h"

namespace {

using namespace ito;

struct ConvertOptions {
  std::string to = "diffusers", checkpoint, out;
  bool raw = false, quiet = false;
};

bool parse(ConvertOptions& o, int argc, char** argv) {
  app::CommandLine line("convert", "Turns networks of ito into those of diffusers, and back.");
  line.add_choice("--to", o.to, {"diffusers", "ito"}, "what to make");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "to diffusers: run directory, checkpoint directory or safetensors file of ito; to ito: "
           "folder with config.json and diffusion_pytorch_model.safetensors, or with unet/ and "
           "scheduler/ (needed)");
  line.add("--out", o.out, "DIR|FILE",
           "to diffusers: the folder to write; to ito: the safetensors file (needed)");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.add_switch("--quiet", o.quiet, "print errors only");
  for (const char* flag : {"--to", "--checkpoint", "--out"}) line.require(flag);
  if (!line.parse(argc, argv)) return false;
  if (o.to == "ito") {
    if (o.raw) app::stop(app::ExitCode::usage, "--raw belongs to --to diffusers");
    app::expect_output("--out", o.out);
  }
  return true;
}

void describe_network(const ConvertOptions& o, UNet& network, const ModelCard& card) {
  if (o.quiet) return;
  app::print(stderr, "{}: {} parameters, {} x {}, {} schedule with T = {}, predicts {}\n", o.out,
             nn::parameter_count(network), card.network.image_size, card.network.image_size,
             card.schedule, card.timesteps, name_of(card.parametrization.prediction));
  const SamplingDefaults& s = card.sampling;
  if (s == SamplingDefaults{}) return;
  app::print(stderr, "  sampled by default with {}, {} spacing, variance {}\n",
             s.threshold > 0.0 ? fmt::format("thresholding at {}", s.threshold)
             : s.clip > 0.0    ? fmt::format("clipping to {}", s.clip)
                               : "no clipping",
             s.spacing, s.variance);
}

void to_diffusers(const ConvertOptions& o) {
  const Model model = app::load_model(o.checkpoint, o.raw);
  const auto parameters = nn::named_parameters(*model.network);
  app::with_exit_code(app::ExitCode::checkpoint,
                      [&] { diffusers_unet_config(model.card.network); });
  app::with_exit_code(app::ExitCode::resource,
                      [&] { save_diffusers(o.out, model.card, parameters); });
  describe_network(o, *model.network, model.card);
}

void to_ito(const ConvertOptions& o) {
  Rng init(0, Purpose::init);
  const DiffusersModel model =
      app::with_exit_code(app::ExitCode::checkpoint, [&] { return load_diffusers(o.checkpoint); });
  for (const std::string& notice : model.notices) {
    if (!o.quiet) app::print(stderr, "note: {}\n", notice);
  }
  UNet network(model.card.network, init);
  app::with_exit_code(app::ExitCode::checkpoint, [&] {
    nn::assign_parameters(nn::named_parameters(network), {model.source, model.tensors, {}});
  });
  app::with_exit_code(app::ExitCode::resource, [&] {
    nn::save_safetensors(o.out, nn::named_parameters(network),
                         {{"format", "ito"},
                          {"weights", "converted"},
                          {"step", "0"},
                          {"config", model.card.to_json()}});
  });
  describe_network(o, network, model.card);
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("convert", [&] {
    ConvertOptions options;
    if (!parse(options, argc, argv)) return app::ExitCode::success;
    options.to == "diffusers" ? to_diffusers(options) : to_ito(options);
    return app::ExitCode::success;
  });
}
