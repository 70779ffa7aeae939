// Checkpoints: directories that are complete or not there. A crash, a full disk or a kill at any
// moment leaves the old or the new one to continue from.
//
//   const std::vector<nn::NamedTensor> named = nn::named_parameters(unet);
//   nn::CheckpointContents contents;
//   contents.files["model.safetensors"] = {named, {{"config", unet.config.to_json()}}};
//   contents.state_json = "{}";
//   nn::save_checkpoint("out/checkpoints", step, contents, {.keep_last = 3});
//
//   const auto found = nn::find_latest_checkpoint("out/checkpoints").checkpoint;
//   if (found) nn::assign_parameters(named, found->load("model.safetensors"));
//
// On disk:
//   checkpoints/step_000500/model.safetensors ... state.json
//                           manifest.json          written last: size and CRC-32 of each file
//   checkpoints/latest -> step_000500              replaced only after the directory is complete
// Directories named step_*.tmp-<pid> are checkpoints being written or removed, step_*.old-<pid>
// ones being replaced; clean_checkpoints clears what a crash left of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nn/files.h"
#include "nn/safetensors.h"

namespace ito::nn {

struct TensorFile {
  std::vector<NamedTensor> tensors;
  Metadata metadata;
};

struct CheckpointContents {
  std::map<std::string, TensorFile> files;  ///< by name, for example "model.safetensors"
  std::string state_json;                   ///< becomes state.json; opaque here
  std::string config_hash;                  ///< stands in the manifest; opaque here
};

struct CheckpointOptions {
  int keep_last = 0;            ///< keep the newest so many, 0 for all
  std::int64_t keep_every = 0;  ///< and those of steps divisible by this, 0 for none
  Files* files = nullptr;       ///< for tests
};

/// Writes the checkpoint of `step` below `root` (made when missing), points `latest` at it and only
/// then removes those that need not be kept. The order of the work: compare the free space with 1.1
/// times the size; write and sync every file of step_N.tmp-<pid>; write and sync the manifest and
/// the directory; rename it; sync `root`; replace `latest`; prune. A checkpoint of the same step is
/// replaced. Steps after this one, left by a run that was continued from further back, are never
/// counted nor removed. Throws IoError; what is not complete is removed then, and older checkpoints
/// are as they were. Throws ValueError for a step < 0 or a file name that is not plain. Returns the
/// checkpoint's directory.
std::filesystem::path save_checkpoint(const std::filesystem::path& root, std::int64_t step,
                                      const CheckpointContents& contents,
                                      const CheckpointOptions& options = {});

/// The list of a checkpoint's files.
struct Manifest {
  struct File {
    std::uint64_t size;
    std::uint32_t crc32;
  };
  std::int64_t step = 0;
  std::string config_hash;
  std::map<std::string, File> files;

  /// Whether a file may have this name: letters, digits, '.', '_' and '-', no '.' first.
  static bool is_plain_name(const std::string& name);
  std::string str() const;  ///< JSON
  /// Throws FormatError naming `file`.
  static Manifest parse(const std::string& text, const std::string& file);
};

/// A checkpoint whose files have been compared with its manifest.
struct Checkpoint {
  std::filesystem::path directory;
  Manifest manifest;
  std::string state_json;

  std::int64_t step() const { return manifest.step; }
  /// One of its files. Throws FormatError when the checkpoint has none of this name.
  SafeTensors load(const std::string& name) const;
};

/// Opens and verifies the checkpoint at `path`: its directory, the directory that holds checkpoints
/// (then the one that `latest` names) or a run's directory with `checkpoints/` inside. Throws
/// FormatError when it is damaged or there is none; IoError.
Checkpoint load_checkpoint(const std::filesystem::path& path);

struct LatestCheckpoint {
  std::optional<Checkpoint> checkpoint;
  std::vector<std::string> skipped;  ///< why newer ones could not be used, one line each
};

/// The checkpoint that `latest` names or, when it is damaged, the newest before it that is
/// complete, or any other. Nothing in both members: there are no checkpoints. Throws IoError.
LatestCheckpoint find_latest_checkpoint(const std::filesystem::path& root);

/// Removes what crashes left: step_*.tmp-* and, where step_* is there again, step_*.old-*; other
/// step_*.old-* get their name back. Call it only while nobody else writes below `root`. Returns
/// what it removed.
std::vector<std::string> clean_checkpoints(const std::filesystem::path& root,
                                           Files& files = system_files());

}  // namespace ito::nn
