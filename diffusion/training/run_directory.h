// The directory a training run writes into: one process at a time, and never over an earlier run by
// accident.
//
//   const training::RunDirectory run("out/run", training::RunDirectory::Mode::fresh);
//   data::write_png(run.samples(500), data::image_grid(samples));
//
//   config.json                what was asked for, resolved
//   metrics.jsonl              what was measured (see metrics.h); the same bits for the same seed
//   timing.jsonl               images per second: differs from run to run, so not in metrics.jsonl
//   samples/step_000500.png    grids of samples
//   checkpoints/step_000500/   see nn/checkpoint.h
//   checkpoints/latest         name of the newest checkpoint
//   report.html                everything on one page
//   profile.txt, profile.json  with --profile: where the time of five steps went
//   nan_report.json            only after training became non-finite
#pragma once

#include <cstdint>
#include <string>

namespace ito::training {

class RunDirectory {
 public:
  enum class Mode {
    fresh,      ///< the directory must not hold a run
    overwrite,  ///< what an earlier run wrote is removed
    resume,     ///< what an earlier run wrote is kept
  };

  /// Creates `path` and locks it (flock on `path`/.lock, released by the kernel however the process
  /// ends). Throws RunError: usage when another process has the lock, or with Mode::fresh when a
  /// run is there already; resource when it cannot be written. Its texts call the path --out, and
  /// speak of --resume and --overwrite, the flags that programs give the modes.
  RunDirectory(const std::string& path, Mode mode);
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string checkpoints() const { return file("checkpoints"); }
  /// "PATH/samples/step_000500.png"
  std::string samples(std::int64_t step) const;

 private:
  void lock();

  struct Lock {  // the file stays when it is closed: removing it would race with a second process
    int file = -1;
    ~Lock();
  };

  std::string path_;
  Lock lock_;
};

/// "step_000500"
std::string step_name(std::int64_t step);

/// The run that a checkpoint belongs to: RUN for RUN, RUN/checkpoints and
/// RUN/checkpoints/step_000500.
std::string run_of(const std::string& checkpoint);

}  // namespace ito::training
