#include "diffusion/training/run_directory.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "data/bytes.h"
#include "diffusion/training/run_error.h"

namespace ito::training {
namespace {

namespace fs = std::filesystem;

// All that a run writes. --overwrite removes these and nothing else.
constexpr const char* run_files[] = {"config.json", "metrics.jsonl", "timing.jsonl",   "samples",
                                     "checkpoints", "report.html",   "nan_report.json"};

// Half-written files of a process that was killed.
void remove_temporaries(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const bool stale = entry.path().filename().string().find(".tmp-") != std::string::npos;
    if (stale && entry.is_regular_file(error)) fs::remove(entry.path(), error);
  }
}

}  // namespace

std::string step_name(std::int64_t step) { return fmt::format("step_{:06}", step); }

std::string run_of(const std::string& checkpoint) {
  const fs::path path = fs::path(checkpoint + "/").lexically_normal().parent_path();
  if (path.filename() == "checkpoints") return path.parent_path().string();
  if (path.parent_path().filename() == "checkpoints")
    return path.parent_path().parent_path().string();
  return path.string();
}

RunDirectory::RunDirectory(const std::string& path, Mode mode) : path_(path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (std::error_code ignored; !fs::is_directory(path, ignored)) {
    stop(RunError::Kind::resource, "--out {}: cannot create this directory: {}", path,
         fs::exists(path, ignored) ? "a file of that name is there" : error.message());
  }
  lock();
  bool used = false;
  for (const char* name : run_files) {
    // Empty folders are left by a program that ended before its run began.
    used = used || (fs::exists(file(name), error) && !fs::is_empty(file(name), error));
  }
  if (used && mode == Mode::fresh) {
    stop(RunError::Kind::usage,
         "--out {}: there is a run already. To go on with it: --resume auto; to replace it: "
         "--overwrite; or choose another directory",
         path);
  }
  if (mode == Mode::overwrite) {
    for (const char* name : run_files) fs::remove_all(file(name), error);
  }
  fs::create_directories(checkpoints(), error);
  if (error) {
    stop(RunError::Kind::resource, "--out {}: cannot create folders in it: {}", path,
         error.message());
  }
  remove_temporaries(path_);
  remove_temporaries(file("samples"));
}

RunDirectory::Lock::~Lock() {
  if (file >= 0) ::close(file);
}

void RunDirectory::lock() {
  const std::string name = file(".lock");
  lock_.file = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_.file < 0) {
    stop(RunError::Kind::resource, "--out {}: cannot write in it: {}", path_,
         std::generic_category().message(errno));
  }
  if (::flock(lock_.file, LOCK_EX | LOCK_NB) != 0) {
    std::string holder = data::read_text(name);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    stop(RunError::Kind::usage,
         "--out {}: in use by another process ({}); choose another directory", path_,
         holder.empty() ? "unknown" : holder);
  }
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const std::string text = fmt::format("host {} pid {}\n", host, ::getpid());
  // Only for people who read it: nothing depends on whether the text could be written.
  if (::ftruncate(lock_.file, 0) == 0 && ::write(lock_.file, text.data(), text.size()) < 0)
    errno = 0;
}

std::string RunDirectory::samples(std::int64_t step) const {
  return file("samples/" + step_name(step) + ".png");
}

}  // namespace ito::training
