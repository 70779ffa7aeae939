#include "nn/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "tensor/error.h"

namespace ito::nn {

namespace {

using Path = std::filesystem::path;

constexpr const char* manifest_name = "manifest.json";
constexpr const char* state_name = "state.json";
constexpr std::uint64_t max_manifest_bytes = 1u << 20;
constexpr std::uint64_t max_state_bytes = 64u << 20;

std::string directory_name(std::int64_t step) { return fmt::format("step_{:06}", step); }

// 500 from "step_000500"; nothing from any other name.
std::optional<std::int64_t> step_of(const std::string& name) {
  std::int64_t step = 0;
  if (!name.starts_with("step_")) return std::nullopt;
  const char* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data() + 5, end, step);
  if (error != std::errc() || at != end || step < 0 || name != directory_name(step)) {
    return std::nullopt;
  }
  return step;
}

std::vector<std::string> entries(const Path& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    fail<IoError>("{}: cannot list the directory: {}", root.string(), error.message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Steps of all directories step_*, complete or not, newest first.
std::vector<std::int64_t> steps_below(const Path& root) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : entries(root)) {
    if (const auto step = step_of(name)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

// The step that `latest` names.
std::optional<std::int64_t> latest_step(const Path& root) {
  std::error_code error;
  const Path target = std::filesystem::read_symlink(root / "latest", error);
  return error ? std::nullopt : step_of(target.string());
}

void make_root(const Path& root, Files& files) {
  std::error_code error;
  if (std::filesystem::is_directory(root, error)) return;
  const Path parent = root.has_parent_path() ? root.parent_path() : Path(".");
  make_root(parent, files);
  if (std::filesystem::is_directory(root, error)) return;  // "a/b/", whose parent is "a/b"
  files.make_directory(root);
  files.sync_directory(parent);
}

struct Plan {
  std::map<std::string, SafeTensorsLayout> tensors;
  std::uint64_t bytes = 0;
};

Plan plan_files(std::int64_t step, const CheckpointContents& contents) {
  if (step < 0) fail<ValueError>("save_checkpoint: step must be >= 0; got {}", step);
  if (contents.state_json.size() > max_state_bytes) {
    fail<ValueError>("save_checkpoint: the state has at most {} bytes; got {}", max_state_bytes,
                     contents.state_json.size());
  }
  Plan plan;
  plan.bytes = contents.state_json.size() + (1u << 16);  // and the manifest, and directories
  for (const auto& [name, file] : contents.files) {
    if (!Manifest::is_plain_name(name) || name == manifest_name || name == state_name) {
      fail<ValueError>("save_checkpoint: '{}' is not a name for a file of tensors", name);
    }
    const auto& layout =
        plan.tensors.emplace(name, safetensors_layout(file.tensors, file.metadata)).first->second;
    plan.bytes += layout.file_size;
  }
  return plan;
}

void expect_free_space(const Path& root, std::uint64_t bytes, Files& files) {
  const std::uint64_t needed = bytes + bytes / 10, free = files.free_bytes(root);
  if (free < needed) {
    fail<IoError>("{}: not enough space for a checkpoint: expected {} bytes; got {} free",
                  root.string(), needed, free);
  }
}

// Writes all files of a checkpoint into a new directory; returns when they are on the disk.
void write_directory(const Path& directory, std::int64_t step, const CheckpointContents& contents,
                     const Plan& plan, Files& files) {
  Manifest manifest;
  manifest.step = step;
  manifest.config_hash = contents.config_hash;
  const auto write = [&](const std::string& name, const auto& body) {
    OutputFile file(files, directory / name);
    body(file);
    file.finish();
    manifest.files[name] = {file.size(), file.crc32()};
  };
  files.make_directory(directory);
  for (const auto& planned : plan.tensors) {
    write(planned.first, [&](OutputFile& file) { write_safetensors(file, planned.second); });
  }
  write(state_name, [&](OutputFile& file) { file.write(contents.state_json); });
  const std::string text = manifest.str();
  write(manifest_name, [&](OutputFile& file) { file.write(text); });
  files.sync_directory(directory);
}

void point_latest(const Path& root, const std::string& name, Files& files) {
  const Path temporary = root / fmt::format("latest.tmp-{}", ::getpid());
  files.remove(temporary);
  // Without links the newest good checkpoint is found by its number.
  if (!files.symlink(name, temporary)) return;
  files.rename(temporary, root / "latest");
  files.sync_directory(root);
}

// Under a temporary name first: a crash halfway leaves nothing that looks like a checkpoint.
void remove_checkpoint(const Path& root, const std::string& name, Files& files) {
  const Path temporary = root / fmt::format("{}.tmp-{}", name, ::getpid());
  files.remove(temporary);
  files.rename(root / name, temporary);
  files.remove(temporary);
}

void prune(const Path& root, std::int64_t newest, const CheckpointOptions& options, Files& files) {
  if (options.keep_last <= 0) return;
  int kept = 0;
  for (const std::int64_t step : steps_below(root)) {
    if (step > newest || kept++ < options.keep_last) continue;
    if (options.keep_every > 0 && step % options.keep_every == 0) continue;
    remove_checkpoint(root, directory_name(step), files);
  }
}

}  // namespace

Path save_checkpoint(const Path& root, std::int64_t step, const CheckpointContents& contents,
                     const CheckpointOptions& options) {
  Files& files = options.files != nullptr ? *options.files : system_files();
  const Plan plan = plan_files(step, contents);
  make_root(root, files);
  expect_free_space(root, plan.bytes, files);
  const std::string name = directory_name(step);
  const Path target = root / name;
  const Path temporary = root / fmt::format("{}.tmp-{}", name, ::getpid());
  const Path aside = root / fmt::format("{}.old-{}", name, ::getpid());
  bool replaced = false;
  try {
    files.remove(temporary);
    write_directory(temporary, step, contents, plan, files);
    if (std::filesystem::exists(target)) {
      files.remove(aside);
      files.rename(target, aside);
      replaced = true;
    }
    files.rename(temporary, target);
  } catch (...) {
    try {
      files.remove(temporary);
      if (replaced) files.rename(aside, target);
    } catch (...) {  // clean_checkpoints will do it; the first error is the one to tell
    }
    throw;
  }
  files.sync_directory(root);
  point_latest(root, name, files);
  if (replaced) files.remove(aside);
  prune(root, step, options, files);
  return target;
}

SafeTensors Checkpoint::load(const std::string& name) const {
  if (!manifest.files.contains(name)) {
    fail<FormatError>("{}: the checkpoint has no {}", directory.string(), name);
  }
  return load_safetensors(directory / name);
}

namespace {

Checkpoint open_directory(const Path& directory) {
  const Path manifest_path = directory / manifest_name;
  std::error_code error;
  if (!std::filesystem::exists(manifest_path, error)) {
    fail<FormatError>("{}: not a complete checkpoint: no {}", directory.string(), manifest_name);
  }
  Checkpoint c;
  c.directory = directory;
  c.manifest =
      Manifest::parse(read_text(manifest_path, max_manifest_bytes), manifest_path.string());
  for (const auto& [name, expected] : c.manifest.files) {
    const InputFile file(directory / name);
    if (file.size() != expected.size) {
      fail<FormatError>("{}: expected {} bytes by {}; got {}", file.name(), expected.size,
                        manifest_name, file.size());
    }
    if (const std::uint32_t crc = crc32_of(file); crc != expected.crc32) {
      fail<FormatError>("{}: expected checksum {:08x} by {}; got {:08x}", file.name(),
                        expected.crc32, manifest_name, crc);
    }
  }
  if (!c.manifest.files.contains(state_name)) {
    fail<FormatError>("{}: no {} in the list of files", manifest_path.string(), state_name);
  }
  c.state_json = read_text(directory / state_name, max_state_bytes);
  return c;
}

}  // namespace

Checkpoint load_checkpoint(const Path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    fail<IoError>("{}: cannot open the checkpoint: not a directory", path.string());
  }
  if (std::filesystem::exists(path / manifest_name, error)) return open_directory(path);
  for (const Path& root : {path, path / "checkpoints"}) {
    if (const auto step = latest_step(root)) return open_directory(root / directory_name(*step));
    if (!std::filesystem::is_directory(root, error)) continue;
    if (auto latest = find_latest_checkpoint(root); latest.checkpoint) return *latest.checkpoint;
  }
  fail<FormatError>("{}: no checkpoint here: neither {} nor latest", path.string(), manifest_name);
}

LatestCheckpoint find_latest_checkpoint(const Path& root) {
  std::vector<std::int64_t> steps = steps_below(root);
  if (const auto latest = latest_step(root)) {
    // What `latest` names, then the older ones, then those of an abandoned future.
    std::stable_partition(steps.begin(), steps.end(), [&](auto step) { return step <= *latest; });
  }
  LatestCheckpoint result;
  for (const std::int64_t step : steps) {
    try {
      result.checkpoint = open_directory(root / directory_name(step));
      return result;
    } catch (const Error& e) {
      result.skipped.push_back(e.what());
    }
  }
  return result;
}

std::vector<std::string> clean_checkpoints(const Path& root, Files& files) {
  std::vector<std::string> removed;
  for (const std::string& name : entries(root)) {
    const auto dot = name.find('.');
    if (dot == std::string::npos) continue;
    const std::string stem = name.substr(0, dot), rest = name.substr(dot);
    if (!step_of(stem) && stem != "latest") continue;
    if (rest.starts_with(".old-") && !std::filesystem::exists(root / stem)) {
      files.rename(root / name, root / stem);
    } else if (rest.starts_with(".tmp-") || rest.starts_with(".old-")) {
      files.remove(root / name);
      removed.push_back(name);
    }
  }
  return removed;
}

}  // namespace ito::nn
