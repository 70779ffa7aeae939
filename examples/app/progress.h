// How far a long job is, on stderr: a bar on a terminal, a plain line every ten seconds elsewhere,
// nothing with --quiet. Respects NO_COLOR.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ito::app {

/// Seconds as "3:07" or "2:05:09".
std::string clock_text(double seconds);

class Progress {
 public:
  /// `total` steps of which `done` were made by an earlier run. `images` per step, for images/s, or
  /// what else `unit` says they are.
  Progress(std::int64_t total, std::int64_t done, std::int64_t images, bool quiet,
           const char* unit = "images");
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Step number `done` (counted from 1) was made. With a loss that is NaN from the beginning, only
  /// the share of the work and the time left are shown.
  void update(std::int64_t done, double loss, double grad_norm, double lr);
  /// Prints a line above the bar.
  void note(const std::string& text);
  /// Time that is not training (sampling, saving) does not count for images/s.
  void pause();
  void resume();
  /// Leaves the bar as it is and goes to the next line.
  void finish();

  /// Over all steps of this process.
  double images_per_second() const;

 private:
  using Clock = std::chrono::steady_clock;
  void draw();
  std::string text() const;
  double training_seconds() const;

  std::int64_t total_, done_, first_, images_;
  const char* unit_;
  bool quiet_, terminal_, color_;
  double loss_ = 0, grad_norm_ = 0, lr_ = 0;
  double weight_ = 0;  // of the smoothed loss, 1 - 0.98^n
  Clock::time_point started_, drawn_, paused_at_;
  Clock::duration paused_{};
  bool shown_ = false;
};

}  // namespace ito::app
