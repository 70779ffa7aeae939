// Checkpoints that tell which they are, for the tests of checkpoints.
#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/checkpoint.h"

namespace ito::test {

using Path = std::filesystem::path;

// Contents that tell which they are: every element is `mark`.
inline nn::CheckpointContents contents(int mark) {
  const auto file = [&](std::int64_t n) {
    return nn::TensorFile{{{"w", Tensor::full({n}, mark)}}, {{"config", "{}"}}};
  };
  return {.files = {{"model.safetensors", file(1000)},
                    {"ema.safetensors", file(1000)},
                    {"optimizer.safetensors", file(2000)}},
          .state_json = fmt::format("{{\"mark\": {}}}\n", mark),
          .config_hash = "c0ffee"};
}

// The mark of a checkpoint, after looking at everything in it.
inline int mark_of(const nn::Checkpoint& c) {
  std::optional<int> mark;
  for (const char* name : {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    for (const float v : c.load(name).at("w").to_vector<float>()) {
      if (!mark) mark = static_cast<int>(v);
      if (v != static_cast<float>(*mark)) return -1;
    }
  }
  return c.state_json == fmt::format("{{\"mark\": {}}}\n", *mark) ? *mark : -1;
}

inline int latest_mark(const Path& root) {
  const auto found = nn::find_latest_checkpoint(root);
  return found.checkpoint ? mark_of(*found.checkpoint) : -1;
}

inline std::vector<std::string> names_in(const Path& root) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Leaves out the waiting for the disk, which is most of the time of a save.
class UnsyncedFiles : public nn::Files {
 public:
  void sync(int, const Path&) override {}
  void sync_directory(const Path&) override {}
};

inline void save(const Path& root, std::int64_t step, const nn::CheckpointContents& what,
                 nn::CheckpointOptions options = {}) {
  static UnsyncedFiles files;
  if (options.files == nullptr) options.files = &files;
  nn::save_checkpoint(root, step, what, options);
}

}  // namespace ito::test
