#include "diffusion/models/diffusers_format.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "data/bytes.h"
#include "diffusion/models/diffusers_json.h"
#include "diffusion/models/diffusers_scheduler.h"
#include "diffusion/models/diffusers_weights.h"
#include "nn/files.h"
#include "nn/safetensors.h"

namespace ito {
using namespace diffusers_json;

namespace {

namespace fs = std::filesystem;

constexpr const char* weights_file = "diffusion_pytorch_model.safetensors";

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

bool is_diffusers_folder(const fs::path& folder) {
  if (!fs::is_directory(folder)) return false;
  if (fs::exists(folder / "model_index.json") || fs::exists(folder / "unet" / "config.json")) {
    return true;
  }
  return std::ranges::any_of(fs::directory_iterator(folder), [](const fs::directory_entry& entry) {
    return entry.path().filename().string().starts_with("diffusion_pytorch_model.");
  });
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
  std::optional<ModelCard> written;  // by save_diffusers
  if (const auto own = file.metadata.find("ito"); own != file.metadata.end()) {
    written = ModelCard::from_json(own->second, model.source);
    model.card.dataset = written->dataset;
    model.card.class_names = written->class_names;
  }
  if (model.card.network.num_classes > 0) {
    model.card.null_class = written && written->null_class;
    if (!model.card.null_class) {
      model.notices.push_back(fmt::format(
          "{}: {} classes, none of which is taken for \"any\": all can be drawn, without guidance",
          config.string(), model.card.network.num_classes + 1));
    }
  }
  // Of PIPELINE/unet the scheduler is beside it.
  const fs::path scheduler = first_existing({folder / "scheduler" / "scheduler_config.json",
                                             folder / "scheduler_config.json",
                                             fs::absolute(folder).lexically_normal().parent_path() /
                                                 "scheduler" / "scheduler_config.json"});
  if (scheduler.empty()) {
    model.notices.push_back(
        fmt::format("{}: no scheduler_config.json; taken to be DDPM's linear schedule with T = "
                    "1000, to predict epsilon, and to clip",
                    folder.string()));
  } else {
    const std::string text = read_text(scheduler);
    for (std::string& notice : read_diffusers_scheduler(text, scheduler.string(), model.card)) {
      model.notices.push_back(std::move(notice));
    }
    // A configuration that is as ito wrote it says no more of sampling than ito's own model.
    if (written && text == diffusers_scheduler_config(*written)) {
      model.card.sampling = written->sampling;
    }
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
