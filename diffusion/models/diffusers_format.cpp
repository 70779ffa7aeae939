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
#include "nn/files.h"
#include "nn/json_text.h"
#include "nn/safetensors.h"

namespace ito {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using diffusers::parse_object, diffusers::value;

constexpr const char* weights_file = "diffusion_pytorch_model.safetensors";

// What ito has no counterpart for must have its usual value.
void expect_usual(const Json& json, const char* key, const Json& usual, const std::string& file) {
  const Json got = json.contains(key) ? json[key] : usual;
  if (got != usual) {
    fail<FormatError>("{}: {} must be {} for a network of ito; got {}", file, key, usual.dump(),
                      got.dump());
  }
}

// ---- the network

std::string block_type(const UNetConfig& c, std::int64_t level, const char* direction) {
  return fmt::format("{}{}Block2D", c.has_attention(level) ? "Attn" : "", direction);
}

// Channels of a head, if it is the same wherever there is attention; null for one head.
Json head_dim(const UNetConfig& c) {
  if (c.head_channels > 0) return c.head_channels;
  if (c.heads == 1) return nullptr;
  std::int64_t channels = c.channels(c.levels() - 1);  // of the middle
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    if (c.has_attention(i) && c.channels(i) != channels) {
      fail<ValueError>(
          "diffusers has as many channels in every head of a network; got heads = {} where there "
          "are {} and {} channels; train with one head",
          c.heads, c.channels(i), channels);
    }
  }
  return channels / c.heads;
}

void read_shape(const Json& json, const std::string& file, UNetConfig& c) {
  const auto widths =
      value<std::vector<std::int64_t>>(json, "block_out_channels", {224, 448, 672, 896}, file);
  if (widths.empty() || widths[0] < 1) {
    fail<FormatError>("{}: block_out_channels must not be empty", file);
  }
  c.base_channels = widths[0];
  c.channel_multipliers.clear();
  for (const std::int64_t width : widths) {
    if (width % c.base_channels != 0) {
      fail<FormatError>("{}: block_out_channels must be multiples of the first; got {} and {}",
                        file, width, c.base_channels);
    }
    c.channel_multipliers.push_back(width / c.base_channels);
  }
  const auto usual = std::vector<std::string>{};
  const auto down = value(json, "down_block_types", usual, file);
  const auto up = value(json, "up_block_types", usual, file);
  c.attention_resolutions.clear();
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    const auto at = static_cast<std::size_t>(i),
               mirror = static_cast<std::size_t>(c.levels() - 1 - i);
    const std::string type = at < down.size() ? down[at] : "nothing";
    if (type == "AttnDownBlock2D") c.attention_resolutions.push_back(c.resolution(i));
    if (type != block_type(c, i, "Down") || mirror >= up.size() ||
        up[mirror] != block_type(c, i, "Up")) {
      fail<FormatError>(
          "{}: down_block_types must be DownBlock2D or AttnDownBlock2D, one for each of "
          "block_out_channels, and up_block_types the same in reverse; got {} at level {}",
          file, type, i);
    }
  }
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

std::string diffusers_unet_config(const UNetConfig& c) {
  if (c.time_features == TimeFeatures::fourier || !c.fourier_features.empty()) {
    fail<ValueError>(
        "diffusers' UNet2DModel has no counterpart of {}",
        c.fourier_features.empty() ? "fixed Fourier features of the time" : "fourier_features");
  }
  std::vector<std::int64_t> widths;
  std::vector<std::string> down, up;
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    widths.push_back(c.channels(i));
    down.push_back(block_type(c, i, "Down"));
    up.insert(up.begin(), block_type(c, i, "Up"));
  }
  const bool cosines_first = c.time_features == TimeFeatures::cos_sin;
  const Json classes = c.num_classes > 0 ? Json(c.num_classes + 1) : Json(nullptr);
  const bool adagn = c.conditioning == EmbeddingMode::adagn;
  return Json{{"_class_name", "UNet2DModel"},
              {"_diffusers_version", diffusers_version},
              {"act_fn", "silu"},
              {"add_attention", true},
              {"attention_head_dim", head_dim(c)},
              {"attn_norm_num_groups", adagn ? Json(c.norm_groups) : Json(nullptr)},
              {"block_out_channels", widths},
              {"center_input_sample", false},
              {"class_embed_type", nullptr},
              {"down_block_types", down},
              {"downsample_padding", c.symmetric_padding ? 1 : 0},
              {"dropout", c.dropout},
              {"flip_sin_to_cos", cosines_first},
              {"freq_shift", cosines_first ? 0 : 1},
              {"in_channels", c.in_channels},
              {"layers_per_block", c.blocks_per_level},
              {"mid_block_scale_factor", 1},
              {"norm_eps", c.norm_eps},
              {"norm_num_groups", c.norm_groups},
              {"num_class_embeds", classes},
              {"out_channels", c.out_channels},
              {"resnet_time_scale_shift", adagn ? "scale_shift" : "default"},
              {"sample_size", c.image_size},
              {"time_embedding_type", "positional"},
              {"up_block_types", up}}
             .dump(2) +
         "\n";
}

UNetConfig unet_of_diffusers(const std::string& text, const std::string& file) {
  const Json json = parse_object(text, file);
  const std::pair<const char*, Json> usual[] = {
      {"_class_name", "UNet2DModel"}, {"act_fn", "silu"},
      {"add_attention", true},        {"center_input_sample", false},
      {"class_embed_type", nullptr},  {"downsample_type", "conv"},
      {"mid_block_scale_factor", 1},  {"time_embedding_type", "positional"},
      {"upsample_type", "conv"}};
  for (const auto& [key, wanted] : usual) expect_usual(json, key, wanted, file);
  UNetConfig c;
  c.image_size = value<std::int64_t>(json, "sample_size", 0, file);
  c.in_channels = value<std::int64_t>(json, "in_channels", 3, file);
  c.out_channels = value<std::int64_t>(json, "out_channels", 3, file);
  c.blocks_per_level = value<std::int64_t>(json, "layers_per_block", 2, file);
  c.norm_groups = value<std::int64_t>(json, "norm_num_groups", 32, file);
  c.norm_eps = value(json, "norm_eps", 1e-5, file);
  c.dropout = value(json, "dropout", 0.0, file);
  read_shape(json, file, c);
  const Json head = json.contains("attention_head_dim") ? json["attention_head_dim"] : Json(8);
  c.head_channels = head.is_null() ? 0 : value<std::int64_t>(json, "attention_head_dim", 8, file);
  c.symmetric_padding = value<std::int64_t>(json, "downsample_padding", 1, file) == 1;
  const bool flipped = value(json, "flip_sin_to_cos", true, file);
  c.time_features = flipped ? TimeFeatures::cos_sin : TimeFeatures::sin_cos;
  if (value<std::int64_t>(json, "freq_shift", 0, file) != (flipped ? 0 : 1)) {
    fail<FormatError>("{}: freq_shift must be 0 with flip_sin_to_cos and 1 without", file);
  }
  const auto shift = value<std::string>(json, "resnet_time_scale_shift", "default", file);
  if (shift != "default" && shift != "scale_shift") {
    fail<FormatError>("{}: resnet_time_scale_shift must be default or scale_shift; got {}", file,
                      shift);
  }
  c.conditioning = shift == "default" ? EmbeddingMode::add : EmbeddingMode::adagn;
  // The attention of the middle has no norm when blocks have AdaGN, unless its groups are given.
  const std::int64_t groups = shift == "default" ? c.norm_groups : 0;
  if (value(json, "attn_norm_num_groups", groups, file) != c.norm_groups) {
    fail<FormatError>("{}: attn_norm_num_groups must be norm_num_groups, {}; got {}", file,
                      c.norm_groups, json.value("attn_norm_num_groups", Json(nullptr)).dump());
  }
  c.num_classes =
      std::max<std::int64_t>(value<std::int64_t>(json, "num_class_embeds", 0, file) - 1, 0);
  try {
    c.validate();
  } catch (const ValueError& e) {
    fail<FormatError>("{}: {}", file, e.what());
  }
  return c;
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
                      {"_diffusers_version", diffusers_version},
                      {"scheduler", {"diffusers", "DDPMScheduler"}},
                      {"unet", {"diffusers", "UNet2DModel"}}};
  write_text(folder / "model_index.json", index.dump(2) + "\n");
}

DiffusersModel load_diffusers(const fs::path& folder) {
  const fs::path config = first_existing({folder / "unet" / "config.json", folder / "config.json"});
  if (config.empty()) {
    fail<IoError>("{}: no config.json in it, nor in its folder unet", folder.string());
  }
  const fs::path weights = config.parent_path() / weights_file;
  if (!fs::exists(weights)) {
    const bool pickled = fs::exists(config.parent_path() / "diffusion_pytorch_model.bin");
    fail<IoError>("{}: no such file{}", weights.string(),
                  pickled ? "; there is a .bin, which only PyTorch reads: load and save the model "
                            "with diffusers to get a .safetensors"
                          : "");
  }
  DiffusersModel model;
  model.source = weights.string();
  model.card.network = unet_of_diffusers(read_text(config), config.string());
  const nn::SafeTensors file = nn::load_safetensors(weights);
  model.card.dataset = fs::weakly_canonical(folder).filename().string();
  std::optional<ModelCard> written;  // by save_diffusers
  if (const auto own = file.metadata.find("ito"); own != file.metadata.end()) {
    written = ModelCard::from_json(own->second, model.source);
    model.card.dataset = written->dataset;
    model.card.class_names = written->class_names;
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
    model.notices = read_diffusers_scheduler(text, scheduler.string(), model.card);
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
