// metrics.jsonl: one JSON object per line, appended as training goes.
//
//   for (const training::MetricsLine& line : training::read_metrics("out/run/metrics.jsonl"))
//     fmt::print("{} {}\n", line.step, line.loss);
//
// A line:
//
//   {"step":500,"loss":0.0431,"loss_q1":0.12,...,"loss_q4":0.004,"grad_norm":0.31,"lr":0.001,
//    "ema_decay":0.98,"skipped":0}
//
// `loss` and the others are means over the steps since the line before; loss_q1 .. loss_q4 are the
// mean loss of the images whose timestep lay in that quarter of 0 .. T - 1 (null when none did).
// All of it is a function of the configuration and the seed: two runs have the same bytes,
// interrupted or not. What depends on the clock goes to timing.jsonl.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace ito::training {

/// Sums since the last line. Part of a checkpoint, so that a resumed run writes the same lines.
struct MetricsWindow {
  std::int64_t steps = 0;
  std::int64_t skipped = 0;  ///< steps without an update, because something was not finite
  double loss = 0, grad_norm = 0;
  std::array<double, 4> quarter_loss{};
  std::array<std::int64_t, 4> quarter_count{};

  /// One step: the loss and the timestep of each sample of the batch, T of the schedule (0: none).
  void add(const std::vector<float>& losses, const std::vector<std::int64_t>& t,
           std::int64_t timesteps, double norm);

  std::string to_json() const;
  static MetricsWindow from_json(const std::string& text);  ///< throws FormatError
};

/// One line of the file.
struct MetricsLine {
  std::int64_t step = 0;
  double loss = 0, grad_norm = 0, lr = 0, ema_decay = 0;
  std::array<double, 4> quarter_loss{};  ///< NaN: no image
  std::int64_t skipped = 0;
};
MetricsLine summarise(const MetricsWindow& window, std::int64_t step, double lr, double ema_decay);
std::string to_json(const MetricsLine& line);
/// The readable lines of a metrics file, in order; damaged ones are left out. Empty without a file.
std::vector<MetricsLine> read_metrics(const std::string& path);

/// Speed over the steps since the line before.
struct TimingLine {
  std::int64_t step = 0;
  double images_per_second = 0;
};
std::string to_json(const TimingLine& line);
std::vector<TimingLine> read_timing(const std::string& path);

/// A file that only grows. If somebody deletes it, it is begun anew; if the disk is full, append
/// throws IoError.
class AppendFile {
 public:
  /// Keeps the whole lines among the first `keep` bytes of an existing file.
  AppendFile(std::string path, std::uint64_t keep);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(const std::string& line);
  std::uint64_t size() const { return size_; }

 private:
  void open();

  std::string path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace ito::training
