// What a trained model says about given noisy images: for checking ito against other programs.
//
//   predict_noise --checkpoint out/train_mnist --input in.safetensors --output out.safetensors
//
// Reads x_t (f32 [N, H, W, C]) and t (i64 [N], from 0), writes eps_hat (f32 [N, H, W, C]): the
// noise that the model sees in x_t, also for a model that predicts x0 or v.
#include <algorithm>

#include "examples/app/command_line.h"
#include "examples/app/device_option.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/load_model.h"
#include "ito.h"
#include "nn/safetensors.h"

namespace {

using namespace ito;

struct PredictOptions {
  std::string checkpoint, input, output, device = "auto", dtype = "f32";
  std::int64_t batch = 64, threads = 0;
  bool raw = false;
};

bool parse(PredictOptions& o, int argc, char** argv) {
  app::CommandLine line("predict_noise", "Applies a trained model to given noisy images.");
  line.add("--checkpoint", o.checkpoint, "DIR|FILE",
           "run directory, checkpoint directory or safetensors file (needed)");
  line.add("--input", o.input, "FILE.safetensors",
           "x_t, f32 [N, H, W, C], and t, i64 [N] from 0 to T - 1 (needed)");
  line.add("--output", o.output, "FILE.safetensors", "eps_hat, f32 [N, H, W, C] (needed)");
  line.add_switch("--raw", o.raw, "use the last weights instead of their average (EMA)");
  line.add("--batch", o.batch, {1, 4096}, "images computed at a time");
  line.add("--threads", o.threads, {0, 1024}, "threads, 0: one per core");
  line.add_choice("--device", o.device, {"auto", "cpu", "cuda"}, "where to compute");
  line.add_choice("--dtype", o.dtype, {"f32", "bf16"},
                  "what the network computes in; bf16 needs cuda");
  for (const char* flag : {"--checkpoint", "--input", "--output"}) line.require(flag);
  return line.parse(argc, argv);
}

// Says what is wrong with the input before the model does.
void check(const Tensor& x_t, const Tensor& t, const ModelCard& card, const std::string& file) {
  const UNetConfig& net = card.network;
  const bool images = x_t.dtype() == DType::f32 && x_t.rank() == 4 && x_t.size(0) >= 1 &&
                      x_t.size(1) == net.image_size && x_t.size(2) == net.image_size &&
                      x_t.size(3) == net.in_channels;
  if (!images) {
    fail<FormatError>("{}: x_t must be f32[N, {}, {}, {}]; got {}", file, net.image_size,
                      net.image_size, net.in_channels, x_t.str());
  }
  if (t.dtype() != DType::i64 || t.rank() != 1 || t.size(0) != x_t.size(0)) {
    fail<FormatError>("{}: t must be i64[{}], one per image; got {}", file, x_t.size(0), t.str());
  }
  for (const std::int64_t value : t.to_vector<std::int64_t>()) {
    if (value < 0 || value >= card.timesteps) {
      fail<FormatError>("{}: t must lie in [0, {}); got {}", file, card.timesteps, value);
    }
  }
}

app::ExitCode run(const PredictOptions& o) {
  app::expect_output("--output", o.output);
  const Device device = app::choose_device(o.device, o.threads, /*quiet=*/true);
  const Model model =
      app::load_model(o.checkpoint, o.raw, device, app::choose_dtype(o.dtype, device));
  const auto [x_t, t] = app::with_exit_code(app::ExitCode::bad_data, [&] {
    const nn::SafeTensors file = nn::load_safetensors(o.input);
    check(file.at("x_t"), file.at("t"), model.card, o.input);
    return std::pair(file.at("x_t"), file.at("t"));
  });

  const NoGrad no_grad;
  const NoiseSchedule schedule = model.schedule();
  const Denoiser denoiser = model.denoiser();
  std::vector<Tensor> predictions;
  for (std::int64_t first = 0; first < x_t.size(0); first += o.batch) {
    const std::int64_t end = std::min(first + o.batch, x_t.size(0));
    const Tensor x = slice(x_t, 0, first, end).to(device);
    const Levels levels = schedule.levels(slice(t, 0, first, end).to(device), x);
    predictions.push_back(denoiser(x, levels).eps.to(Device::cpu()));
  }
  const Tensor eps_hat = concat(predictions, 0);
  app::with_exit_code(app::ExitCode::resource, [&] {
    nn::save_safetensors(o.output, {{"eps_hat", eps_hat}}, {{"checkpoint", model.fingerprint}});
  });
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("predict_noise", [&] {
    PredictOptions options;
    return parse(options, argc, argv) ? run(options) : app::ExitCode::success;
  });
}
