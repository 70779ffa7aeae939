#include "examples/app/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "examples/app/output.h"

namespace ito::app {
namespace {

int terminal_width() {
  winsize size = {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

std::string clock_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

Progress::Progress(std::int64_t total, std::int64_t done, std::int64_t images, bool quiet,
                   const char* unit)
    : total_(total), done_(done), first_(done), images_(images), unit_(unit), quiet_(quiet) {
  terminal_ = ::isatty(STDERR_FILENO) == 1;
  color_ = terminal_ && std::getenv("NO_COLOR") == nullptr;
  started_ = drawn_ = Clock::now();
}

Progress::~Progress() { finish(); }

double Progress::training_seconds() const {
  return std::chrono::duration<double>(Clock::now() - started_ - paused_).count();
}

double Progress::images_per_second() const {
  const double seconds = training_seconds();
  return seconds > 0 ? static_cast<double>((done_ - first_) * images_) / seconds : 0;
}

void Progress::update(std::int64_t done, double loss, double grad_norm, double lr) {
  done_ = done;
  grad_norm_ = grad_norm;
  lr_ = lr;
  if (std::isfinite(loss)) {
    // An exponential average whose weights sum to 1 from the first step on.
    weight_ = 0.98 * weight_ + 0.02;
    loss_ += (loss - loss_) * 0.02 / weight_;
  }
  if (quiet_) return;
  const auto now = Clock::now();
  const auto interval = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (now - drawn_ >= interval || done == total_ || done == first_ + 1) {
    drawn_ = now;
    draw();
  }
}

std::string Progress::text() const {
  const double seconds = training_seconds();
  const double left = done_ > first_ ? seconds / static_cast<double>(done_ - first_) *
                                           static_cast<double>(total_ - done_)
                                     : 0;
  if (weight_ == 0) {  // no loss: not a training run
    return fmt::format("{:3.0f} %  ETA {}",
                       100.0 * static_cast<double>(done_) / static_cast<double>(total_),
                       clock_text(left));
  }
  return fmt::format("step {}/{}  loss {:.4f}  |g| {:.3f}  lr {:.1e}  {:.0f} {}/s  ETA {}", done_,
                     total_, loss_, grad_norm_, lr_, images_per_second(), unit_, clock_text(left));
}

void Progress::draw() {
  const std::string line = text();
  if (!terminal_) {
    print(stderr, "{}\n", line);
    return;
  }
  const int room = terminal_width() - static_cast<int>(line.size()) - 4;
  std::string bar;
  if (room >= 8) {
    const int width = std::min(room, 40);
    const int full = static_cast<int>(width * done_ / std::max<std::int64_t>(total_, 1));
    bar = fmt::format("{}{}{}{} ", color_ ? "\x1b[36m" : "", std::string(full, '='),
                      std::string(width - full, '-'), color_ ? "\x1b[0m" : "");
  }
  print(stderr, "\r{}{}\x1b[K", bar, line);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::note(const std::string& text) {
  if (quiet_) return;
  print(stderr, "{}{}\n", shown_ ? "\r\x1b[K" : "", text);
  shown_ = false;
}

void Progress::pause() { paused_at_ = Clock::now(); }

void Progress::resume() { paused_ += Clock::now() - paused_at_; }

void Progress::finish() {
  if (shown_) print(stderr, "\n");
  shown_ = false;
}

}  // namespace ito::app
