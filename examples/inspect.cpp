// What a file is and what it contains: a run, a checkpoint, a safetensors file, a picture or a data
// set.
//
//   inspect out/train_mnist
//   inspect out/train_mnist/samples/step_000500.png
//   inspect /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/describe.h"
#include "diffusion/models/diffusers_format.h"
#include "diffusion/training/metrics.h"
#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/output.h"
#include "nn/checkpoint.h"
#include "nn/safetensors.h"

namespace {

using namespace ito;
namespace fs = std::filesystem;

// "mean 0.0012, std 0.031, from -0.2 to 0.19" of a floating tensor.
std::string statistics(const Tensor& t) {
  if (!is_floating(t.dtype()) || t.numel() == 0) return "";
  double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
  std::int64_t bad = 0;
  with_any(t.dtype(), [&](auto zero) {
    for (const auto element : t.to_vector<decltype(zero)>()) {
      const auto x = static_cast<double>(static_cast<float>(element));
      if (!std::isfinite(x)) {
        ++bad;
        continue;
      }
      sum += x;
      squares += x * x;
      low = std::min(low, x);
      high = std::max(high, x);
    }
  });
  const auto n = static_cast<double>(t.numel() - bad);
  const double mean = n > 0 ? sum / n : 0;
  const double deviation = n > 0 ? std::sqrt(std::max(0.0, squares / n - mean * mean)) : 0;
  std::string text =
      fmt::format("mean {:9.3g}  std {:9.3g}  from {:9.3g} to {:9.3g}", mean, deviation, low, high);
  if (bad > 0) text += fmt::format("  {} NOT FINITE", bad);
  return text;
}

void inspect_safetensors(const fs::path& path, bool all) {
  const nn::SafeTensors file = nn::load_safetensors(path);
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : file.tensors) elements += tensor.numel();
  app::print(stdout, "{}: safetensors, {} tensors, {} elements, {}\n", path.string(),
             file.tensors.size(), elements,
             app::human_bytes(static_cast<double>(fs::file_size(path))));
  for (const auto& [key, value] : file.metadata) app::print(stdout, "  {}: {}\n", key, value);
  std::size_t shown = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (!all && ++shown > 20) {
      app::print(stdout, "  ... and {} more; --all lists them\n", file.tensors.size() - 20);
      break;
    }
    app::print(stdout, "  {:<48} {:<6} {:<18} {}\n", name, name_of(tensor.dtype()),
               tensor.shape().str(), statistics(tensor));
  }
}

void inspect_checkpoint(const nn::Checkpoint& checkpoint) {
  app::print(stdout, "{}: checkpoint of step {}, complete, checksums agree\n",
             checkpoint.directory.string(), checkpoint.step());
  for (const auto& [name, file] : checkpoint.manifest.files) {
    app::print(stdout, "  {:<24} {:>10}  crc32 {:08x}\n", name,
               app::human_bytes(static_cast<double>(file.size)), file.crc32);
  }
  app::print(stdout, "{}", checkpoint.state_json);
}

// A folder of diffusers: what it would be as a model of ito, or why it cannot be one.
void inspect_diffusers(const fs::path& path) {
  app::print(stdout, "{}: a model in diffusers' format\n", path.string());
  try {
    const DiffusersModel model = load_diffusers(path);
    const ModelCard& card = model.card;
    app::print(stdout,
               "  UNet2DModel, {} tensors, {} x {} x {}, {} schedule with T = {}, predicts {}\n"
               "  convert --to ito makes it a file of ito\n",
               model.tensors.size(), card.network.image_size, card.network.image_size,
               card.network.in_channels, card.schedule, card.timesteps,
               name_of(card.parametrization.prediction));
    for (const std::string& notice : model.notices) app::print(stdout, "  note: {}\n", notice);
  } catch (const Error& e) {
    app::print(stdout, "  cannot be converted: {}\n", e.what());
  }
}

void inspect_run(const fs::path& path) {
  app::print(stdout, "{}: a training run\n{}", path.string(),
             app::read_text((path / "config.json").string()));
  const auto metrics = training::read_metrics((path / "metrics.jsonl").string());
  app::print(stdout, "metrics: {} lines", metrics.size());
  if (!metrics.empty()) {
    app::print(stdout, ", the last of step {}: loss {:.4g}, gradient norm {:.3g}",
               metrics.back().step, metrics.back().loss, metrics.back().grad_norm);
  }
  app::print(stdout, "\n");
  const auto latest = nn::find_latest_checkpoint(path / "checkpoints");
  for (const std::string& reason : latest.skipped) app::print(stdout, "DAMAGED: {}\n", reason);
  if (latest.checkpoint) {
    inspect_checkpoint(*latest.checkpoint);
  } else {
    app::print(stdout, "no checkpoint that can be used\n");
  }
}

app::ExitCode run(const std::string& name, bool all) {
  const fs::path path = name;
  if (!fs::exists(path)) {
    app::stop(app::ExitCode::bad_data, "{}: no such file or directory", name);
  }
  if (fs::is_directory(path)) {
    app::with_exit_code(app::ExitCode::checkpoint, [&] {
      if (is_diffusers_folder(path)) {
        inspect_diffusers(path);
      } else if (fs::exists(path / "config.json")) {
        inspect_run(path);
      } else {
        inspect_checkpoint(nn::load_checkpoint(path));
      }
    });
  } else if (path.extension() == ".safetensors") {
    app::with_exit_code(app::ExitCode::checkpoint, [&] { inspect_safetensors(path, all); });
  } else {
    app::with_exit_code(app::ExitCode::bad_data,
                        [&] { app::print(stdout, "{}\n", data::describe_file(path)); });
  }
  return app::ExitCode::success;
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("inspect", [&] {
    std::string file;
    bool all = false;
    app::CommandLine line("inspect", "Says what a run, checkpoint, data file or picture contains.");
    line.add_positional("FILE", file,
                        "run or checkpoint directory, safetensors, PNG, IDX or CIFAR-10 file");
    line.add_switch("--all", all, "list every tensor");
    line.require("FILE");
    return line.parse(argc, argv) ? run(file, all) : app::ExitCode::success;
  });
}
