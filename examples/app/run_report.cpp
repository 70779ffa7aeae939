#include "examples/app/run_report.h"

#include <algorithm>
#include <filesystem>

#include "data/png.h"
#include "examples/app/files.h"
#include "examples/app/preview.h"
#include "examples/app/report.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"

namespace ito::app {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_grids = 12;

// The grids of the run, oldest first; evenly chosen when there are many, with the newest.
std::vector<ReportPicture> sample_grids(const RunDirectory& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory.file("samples"), error)) {
    if (entry.path().extension() == ".png") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<ReportPicture> grids;
  const std::size_t count = std::min(files.size(), most_grids);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t chosen = count == 1 ? 0 : i * (files.size() - 1) / (count - 1);
    const std::string stem = files[chosen].stem().string();  // step_000500
    const std::size_t digits = stem.find_first_not_of("step_0");
    grids.push_back({"step " + (digits == stem.npos ? "0" : stem.substr(digits)),
                     read_text(files[chosen].string()), 2});
  }
  return grids;
}

ReportPicture noising(const data::Dataset& dataset, const NoiseSchedule& schedule,
                      std::uint64_t seed) {
  const Tensor& images = dataset.images;
  const Tensor first = images.alias({images.size(1), images.size(2), images.size(3)});
  const data::Bytes png = data::encode_png(noising_strip(schedule, first, seed));
  const std::int64_t last = schedule.timesteps() - 1;
  return {fmt::format("t = 0 to {}, ten steps of equal length", last),
          std::string(reinterpret_cast<const char*>(png.data()), png.size()), 3};
}

std::string decimal(double x) { return fmt::format("{:.4g}", x); }

}  // namespace

void write_run_report(const RunDirectory& directory, const std::string& status,
                      const TrainOptions& o, const data::Dataset& dataset,
                      const NoiseSchedule& schedule, const nn::FlatParameters& flat) {
  Report r;
  r.title = fmt::format("{}: {}", o.program, dataset.name);
  r.status = status;
  r.metrics = read_metrics(directory.file("metrics.jsonl"));
  r.timing = read_timing(directory.file("timing.jsonl"));
  r.samples = sample_grids(directory);
  r.noising = {noising(dataset, schedule, static_cast<std::uint64_t>(o.seed))};
  r.config = read_text(directory.file("config.json"));
  const Tensor& images = dataset.images;
  r.facts = {
      {"data", fmt::format("{}, {} images of {} x {} x {}", dataset.name, images.size(0),
                           images.size(1), images.size(2), images.size(3))},
      {"process",
       fmt::format("{} schedule, T = {}, predicts {}", o.schedule, o.timesteps, name_of(o.predict))},
      {"network", fmt::format("{} parameters", flat.count())},
      {"batch", fmt::format("{} images", o.batch)},
      {"device", flat.values.device().str()},
      {"dtype", name_of(flat.working.dtype())},
      {"peak memory", human_bytes(static_cast<double>(memory::usage(flat.values.device()).peak))},
      {"threads", std::to_string(num_threads())}};
  if (!r.metrics.empty()) {
    double loss = 0;
    const std::size_t tail = std::max<std::size_t>(1, r.metrics.size() / 10);
    for (std::size_t i = r.metrics.size() - tail; i < r.metrics.size(); ++i) {
      loss += r.metrics[i].loss / static_cast<double>(tail);
    }
    r.facts.insert(r.facts.begin() + 4,
                   {"loss", decimal(loss) + " (mean over the last tenth of the run)"});
  }
  write_text_atomic(directory.file("report.html"), render_html(r));
}

}  // namespace ito::app
