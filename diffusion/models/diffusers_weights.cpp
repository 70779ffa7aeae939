#include "diffusion/models/diffusers_weights.h"

#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/files.h"
#include "nn/json_text.h"
#include "tensor/error.h"

namespace ito {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* stem = "diffusion_pytorch_model";

// Which shard each tensor is in, from the index.
std::map<std::string, std::string> weight_map(const fs::path& index) {
  constexpr std::uint64_t limit = 1 << 24;
  const Json json = nn::parse_json<Json>(nn::read_text(index, limit));
  std::map<std::string, std::string> files;
  try {
    files = json.at("weight_map").get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception&) {
    fail<FormatError>("{}: weight_map must be an object of tensor names and file names",
                      index.string());
  }
  if (files.empty()) fail<FormatError>("{}: weight_map must not be empty", index.string());
  for (const auto& [tensor, file] : files) {
    if (file.empty() || fs::path(file).filename() != file || file == "." || file == "..") {
      fail<FormatError>("{}: weight_map: a shard must be a file beside the index; got {} for {}",
                        index.string(), file, tensor);
    }
  }
  return files;
}

nn::SafeTensors load_shards(const fs::path& index) {
  const auto wanted = weight_map(index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : wanted) names.insert(file);
  nn::SafeTensors all{index.string(), {}, {}};
  for (const std::string& name : names) {
    const fs::path path = index.parent_path() / name;
    if (!fs::exists(path)) {
      fail<IoError>("{}: no such file; {} names it", path.string(), index.string());
    }
    nn::SafeTensors shard = nn::load_safetensors(path);
    all.metadata.merge(shard.metadata);
    for (auto& [tensor, value] : shard.tensors) {
      const auto found = wanted.find(tensor);
      if (found == wanted.end() || found->second != name) {
        fail<FormatError>("{}: {} does not say that {} is in this file", path.string(),
                          index.string(), tensor);
      }
      all.tensors.emplace_back(tensor, std::move(value));
    }
  }
  for (const auto& [tensor, file] : wanted) {
    if (!all.contains(tensor)) {
      fail<FormatError>("{}: {} must be in {}; it is not", index.string(), tensor, file);
    }
  }
  return all;
}

}  // namespace

void strip_wrapper_prefix(nn::SafeTensors& file) {
  const std::string first = "conv_in.weight";
  std::set<std::string> prefixes;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.ends_with(first)) continue;
    const std::string prefix = name.substr(0, name.size() - first.size());
    if (prefix.empty() || prefix.ends_with('.')) prefixes.insert(prefix);
  }
  if (prefixes.size() > 1) {
    fail<FormatError>("{}: must hold one network; got {} with the prefixes '{}'", file.file,
                      prefixes.size(), fmt::join(prefixes, "', '"));
  }
  if (prefixes.empty()) return;
  const std::string& prefix = *prefixes.begin();
  for (auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  }
}

nn::SafeTensors load_diffusers_weights(const fs::path& folder) {
  for (const std::string variant : {"", ".fp16", ".bf16"}) {
    const fs::path file = folder / (stem + variant + ".safetensors");
    const fs::path index = folder / (std::string(stem) + ".safetensors.index" + variant + ".json");
    const bool one = fs::exists(file), many = fs::exists(index);
    if (one && many) {
      fail<FormatError>(
          "{}: stands beside {}, and one of them is of another model; remove the one that is out "
          "of date",
          index.string(), file.filename().string());
    }
    if (!one && !many) continue;
    nn::SafeTensors weights = one ? nn::load_safetensors(file) : load_shards(index);
    strip_wrapper_prefix(weights);
    return weights;
  }
  bool pickled = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string end = entry.path().extension().string();
    pickled = pickled || (name.starts_with(stem) && end == ".bin") || end == ".pt" ||
              end == ".pth" || end == ".ckpt";
  }
  fail<IoError>("{}: no such file{}", (folder / (std::string(stem) + ".safetensors")).string(),
                pickled
                    ? "; there is a .bin, .pt or .ckpt, which only PyTorch reads: load and save "
                      "the model with diffusers to get a .safetensors"
                    : "");
}

}  // namespace ito
