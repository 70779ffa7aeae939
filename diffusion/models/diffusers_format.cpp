#include "diffusion/models/diffusers_format.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "data/bytes.h"
#include "diffusion/models/diffusers_json.h"
#include "diffusion/models/diffusers_weights.h"
#include "nn/files.h"
#include "nn/safetensors.h"

namespace ito {
using namespace diffusers_json;

namespace {

namespace fs = std::filesystem;

constexpr const char* weights_file = "diffusion_pytorch_model.safetensors";

// ---- the process

std::vector<double> betas_of(const NoiseSchedule& schedule) {
  std::vector<double> betas;
  for (std::int64_t t = 0; t < schedule.timesteps(); ++t) betas.push_back(schedule.beta(t));
  return betas;
}

std::vector<double> betas_of(const Json& json, const std::string& file) {
  if (json.contains("trained_betas") && !json["trained_betas"].is_null()) {
    return value<std::vector<double>>(json, "trained_betas", {}, file);
  }
  const auto steps = value<std::int64_t>(json, "num_train_timesteps", 1000, file);
  if (steps < 1 || steps > 100'000) {
    fail<FormatError>("{}: num_train_timesteps must be in [1, 100000]; got {}", file, steps);
  }
  const auto kind = value<std::string>(json, "beta_schedule", "linear", file);
  const auto first = value(json, "beta_start", 1e-4, file);
  const auto last = value(json, "beta_end", 0.02, file);
  if (kind == "linear") return betas_of(NoiseSchedule::linear(steps, first, last));
  if (kind == "scaled_linear") return betas_of(NoiseSchedule::quadratic(steps, first, last));
  if (kind == "squaredcos_cap_v2") return betas_of(NoiseSchedule::cosine(steps));
  fail<FormatError>("{}: beta_schedule must be linear, scaled_linear or squaredcos_cap_v2; got {}",
                    file, kind);
}

// diffusers keeps betas in f32.
bool same_betas(const std::vector<double>& a, const std::vector<double>& b) {
  return std::ranges::equal(a, b, [](double x, double y) { return std::abs(x - y) <= 1e-6 * y; });
}

// The schedule of these betas by its name or, where it has none, with the betas themselves.
void set_schedule(const std::vector<double>& betas, ModelCard& card) {
  card.timesteps = std::ssize(betas);
  card.betas.clear();
  for (const std::string& name : NoiseSchedule::names()) {
    try {
      if (!same_betas(betas, betas_of(NoiseSchedule::named(name, card.timesteps)))) continue;
    } catch (const ValueError&) {
      continue;  // a schedule that cannot have so few steps
    }
    card.schedule = name;
    return;
  }
  card.schedule = "custom";
  card.betas = betas;
}

// ---- the tensors

Tensor permuted(const Tensor& x, const std::vector<int>& order) {
  const NoGrad no_grad;
  return x.rank() == 4 ? permute(x, order) : x;
}

std::string read_text(const fs::path& path) {
  constexpr std::uint64_t limit = 1 << 24;
  return nn::read_text(path, limit);
}

void write_text(const fs::path& path, const std::string& text) {
  data::write_file(path.string(),
                   {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

fs::path first_existing(const std::vector<fs::path>& paths) {
  const auto found = std::ranges::find_if(paths, [](const fs::path& p) { return fs::exists(p); });
  return found == paths.end() ? fs::path{} : *found;
}

}  // namespace

std::string diffusers_scheduler_config(const ModelCard& card) {
  const Prediction prediction = card.parametrization.prediction;
  const char* predicts = prediction == Prediction::epsilon ? "epsilon"
                         : prediction == Prediction::x0    ? "sample"
                         : prediction == Prediction::v     ? "v_prediction"
                                                           : nullptr;
  if (predicts == nullptr || card.parametrization != Parametrization{.prediction = prediction}) {
    fail<ValueError>("diffusers predicts epsilon, x0 or v; got {}", name_of(prediction));
  }
  const bool learned = card.network.out_channels == 2 * card.network.in_channels;
  Json json = {{"_class_name", "DDPMScheduler"},
               {"_diffusers_version", version},
               {"num_train_timesteps", card.timesteps},
               {"prediction_type", predicts},
               {"variance_type", learned ? "learned_range" : "fixed_large"},
               {"clip_sample", true},
               {"beta_start", 1e-4},
               {"beta_end", 0.02}};
  if (card.schedule == "linear") {
    json["beta_schedule"] = "linear";
  } else if (card.schedule == "quadratic") {
    json["beta_schedule"] = "scaled_linear";
  } else if (card.schedule == "cosine") {
    json["beta_schedule"] = "squaredcos_cap_v2";
  } else {
    json["trained_betas"] = betas_of(card.noise_schedule());
  }
  return json.dump(2) + "\n";
}

void read_diffusers_scheduler(const std::string& text, const std::string& file, ModelCard& card) {
  const Json json = parse_object(text, file);
  const auto predicts = value<std::string>(json, "prediction_type", "epsilon", file);
  if (predicts != "epsilon" && predicts != "sample" && predicts != "v_prediction") {
    fail<FormatError>("{}: prediction_type must be epsilon, sample or v_prediction; got {}", file,
                      predicts);
  }
  card.parametrization.prediction = predicts == "epsilon"  ? Prediction::epsilon
                                    : predicts == "sample" ? Prediction::x0
                                                           : Prediction::v;
  try {
    set_schedule(betas_of(json, file), card);
    if (card.schedule == "custom") NoiseSchedule::from_betas(card.betas);  // refuses what are none
  } catch (const ValueError& e) {
    fail<FormatError>("{}: {}", file, e.what());
  }
}

std::string name_of_diffusers(std::string name) {
  constexpr std::pair<const char*, const char*> older[] = {{".query.", ".to_q."},
                                                           {".key.", ".to_k."},
                                                           {".value.", ".to_v."},
                                                           {".proj_attn.", ".to_out.0."}};
  for (const auto& [from, to] : older) {
    const std::string part = from;
    const std::size_t at = name.find(part);
    if (at != name.npos) return name.replace(at, part.size(), to);
  }
  return name;
}

void save_diffusers(const fs::path& folder, const ModelCard& card,
                    const std::vector<nn::NamedTensor>& parameters) {
  const std::string network = diffusers_unet_config(card.network);
  const std::string scheduler = diffusers_scheduler_config(card);
  std::vector<nn::NamedTensor> tensors;
  for (const auto& [name, tensor] : parameters) {
    tensors.emplace_back(name, permuted(tensor.to(Device::cpu()), {0, 3, 1, 2}));
  }
  std::error_code error;
  fs::create_directories(folder / "unet", error);
  fs::create_directories(folder / "scheduler", error);
  if (error)
    fail<IoError>("{}: cannot create this directory: {}", folder.string(), error.message());
  // "pt" is what diffusers asks for; what it has no place for stands beside it.
  nn::save_safetensors(folder / "unet" / weights_file, tensors,
                       {{"format", "pt"}, {"ito", card.to_json()}});
  write_text(folder / "unet" / "config.json", network);
  write_text(folder / "scheduler" / "scheduler_config.json", scheduler);
  const Json index = {{"_class_name", "DDPMPipeline"},
                      {"_diffusers_version", version},
                      {"scheduler", {"diffusers", "DDPMScheduler"}},
                      {"unet", {"diffusers", "UNet2DModel"}}};
  write_text(folder / "model_index.json", index.dump(2) + "\n");
}

DiffusersModel load_diffusers(const fs::path& folder) {
  const fs::path config = first_existing({folder / "unet" / "config.json", folder / "config.json"});
  if (config.empty()) {
    fail<IoError>("{}: no config.json in it, nor in its folder unet", folder.string());
  }
  DiffusersModel model;
  model.card.network = unet_of_diffusers(read_text(config), config.string());
  const nn::SafeTensors file = load_diffusers_weights(config.parent_path());
  model.source = file.file;
  model.card.dataset = fs::weakly_canonical(folder).filename().string();
  if (const auto own = file.metadata.find("ito"); own != file.metadata.end()) {
    const ModelCard card = ModelCard::from_json(own->second, model.source);
    model.card.dataset = card.dataset;
    model.card.class_names = card.class_names;
  }
  const fs::path scheduler = first_existing(
      {folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"});
  if (!scheduler.empty()) {
    read_diffusers_scheduler(read_text(scheduler), scheduler.string(), model.card);
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (!is_floating(tensor.dtype())) {
      fail<FormatError>("{}: {} must be floating; got {}", model.source, name, tensor.str());
    }
    model.tensors.emplace_back(name_of_diffusers(name),
                               cast(permuted(tensor, {0, 2, 3, 1}), DType::f32));
  }
  return model;
}

}  // namespace ito
