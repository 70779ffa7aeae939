#include "diffusion/training/metrics.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "nn/json_text.h"
#include "tensor/error.h"

namespace ito::training {
namespace {

// Keeps the order of the keys.
using Json = nlohmann::ordered_json;

Json number_or_null(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

double real(const Json& j, const char* key) {
  return j.contains(key) && j[key].is_number() ? j[key].get<double>()
                                               : std::numeric_limits<double>::quiet_NaN();
}

// Calls `use` with each line of a JSONL file that is an object.
template <class F>
void for_each_object(const std::string& path, const F& use) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const Json j = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (j.is_object() && j.contains("step") && j["step"].is_number_integer()) use(j);
  }
}

// How many of the first `size` bytes of a file are whole lines.
std::uint64_t whole_lines(const std::string& path, std::uint64_t size) {
  std::ifstream file(path, std::ios::binary);
  std::uint64_t end = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    if (end + line.size() + 1 > size) break;
    end += line.size() + 1;
  }
  return end;
}

}  // namespace

void MetricsWindow::add(const std::vector<float>& losses, const std::vector<std::int64_t>& t,
                        std::int64_t timesteps, double norm) {
  double sum = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    sum += double{losses[i]};
    if (timesteps == 0) continue;
    const auto quarter = static_cast<std::size_t>(t[i] * 4 / timesteps);
    quarter_loss[quarter] += double{losses[i]};
    ++quarter_count[quarter];
  }
  ++steps;
  loss += sum / static_cast<double>(losses.size());
  grad_norm += norm;
}

std::string MetricsWindow::to_json() const {
  return Json{
      {"steps", steps},         {"skipped", skipped},           {"loss", loss},
      {"grad_norm", grad_norm}, {"quarter_loss", quarter_loss}, {"quarter_count", quarter_count}}
      .dump();
}

MetricsWindow MetricsWindow::from_json(const std::string& text) {
  try {
    const Json j = nn::parse_json<Json>(text);
    MetricsWindow w;
    w.steps = j.at("steps").get<std::int64_t>();
    w.skipped = j.at("skipped").get<std::int64_t>();
    w.loss = j.at("loss").get<double>();
    w.grad_norm = j.at("grad_norm").get<double>();
    w.quarter_loss = j.at("quarter_loss").get<std::array<double, 4>>();
    w.quarter_count = j.at("quarter_count").get<std::array<std::int64_t, 4>>();
    return w;
  } catch (const nlohmann::json::exception& e) {
    fail<FormatError>("metrics in the checkpoint's state: {}", e.what());
  }
}

MetricsLine summarise(const MetricsWindow& w, std::int64_t step, double lr, double ema_decay) {
  MetricsLine line;
  line.step = step;
  line.lr = lr;
  line.ema_decay = ema_decay;
  line.skipped = w.skipped;
  const auto n = static_cast<double>(w.steps);
  line.loss = w.loss / n;  // NaN when every step was skipped
  line.grad_norm = w.grad_norm / n;
  for (std::size_t q = 0; q < 4; ++q) {
    line.quarter_loss[q] = w.quarter_loss[q] / static_cast<double>(w.quarter_count[q]);
  }
  return line;
}

std::string to_json(const MetricsLine& l) {
  return Json{{"step", l.step},
              {"loss", number_or_null(l.loss)},
              {"loss_q1", number_or_null(l.quarter_loss[0])},
              {"loss_q2", number_or_null(l.quarter_loss[1])},
              {"loss_q3", number_or_null(l.quarter_loss[2])},
              {"loss_q4", number_or_null(l.quarter_loss[3])},
              {"grad_norm", number_or_null(l.grad_norm)},
              {"lr", l.lr},
              {"ema_decay", l.ema_decay},
              {"skipped", l.skipped}}
      .dump();
}

std::vector<MetricsLine> read_metrics(const std::string& path) {
  std::vector<MetricsLine> lines;
  for_each_object(path, [&](const Json& j) {
    MetricsLine l;
    l.step = j["step"].get<std::int64_t>();
    l.loss = real(j, "loss");
    l.grad_norm = real(j, "grad_norm");
    l.lr = real(j, "lr");
    l.ema_decay = real(j, "ema_decay");
    l.quarter_loss = {real(j, "loss_q1"), real(j, "loss_q2"), real(j, "loss_q3"),
                      real(j, "loss_q4")};
    lines.push_back(l);
  });
  return lines;
}

std::string to_json(const TimingLine& l) {
  return Json{{"step", l.step}, {"images_per_second", number_or_null(l.images_per_second)}}.dump();
}

std::vector<TimingLine> read_timing(const std::string& path) {
  std::vector<TimingLine> lines;
  for_each_object(path, [&](const Json& j) {
    lines.push_back({j["step"].get<std::int64_t>(), real(j, "images_per_second")});
  });
  return lines;
}

AppendFile::AppendFile(std::string path, std::uint64_t keep) : path_(std::move(path)) {
  open();
  keep = whole_lines(path_, keep);
  if (size_ > keep) {
    if (::ftruncate(file_, static_cast<off_t>(keep)) != 0) {
      fail<IoError>("{}: cannot cut to {} bytes: {}", path_, keep,
                    std::generic_category().message(errno));
    }
    size_ = keep;
  }
}

AppendFile::~AppendFile() {
  if (file_ >= 0) ::close(file_);
}

void AppendFile::open() {
  if (file_ >= 0) ::close(file_);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0)
    fail<IoError>("{}: cannot open: {}", path_, std::generic_category().message(errno));
  struct stat info = {};
  if (::fstat(file_, &info) != 0)
    fail<IoError>("{}: {}", path_, std::generic_category().message(errno));
  size_ = static_cast<std::uint64_t>(info.st_size);
}

void AppendFile::append(const std::string& line) {
  struct stat info = {};
  if (::stat(path_.c_str(), &info) != 0) open();
  const std::string text = line + "\n";
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(file_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      fail<IoError>("{}: cannot write: {}", path_, std::generic_category().message(errno));
    done += static_cast<std::size_t>(written);
  }
  size_ += text.size();
}

}  // namespace ito::training
