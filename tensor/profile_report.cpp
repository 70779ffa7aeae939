#include "tensor/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "tensor/error.h"

namespace ito::profile {
namespace {

std::string share(double part, double whole) {
  return whole > 0.0 ? fmt::format("{:.1f} %", 100.0 * part / whole) : "";
}

// Work per second and its share of what is possible; nothing where there was no such work.
std::string rate(double work, double seconds, double peak) {
  if (work <= 0.0 || seconds <= 0.0) return fmt::format("{:>9}{:>9}", "", "");
  return fmt::format("{:>9.1f}{:>9}", 1e-9 * work / seconds, share(work / seconds, peak));
}

class Table {
 public:
  Table(int steps, const Peak& peak, double seconds)
      : per_step_(1.0 / steps), peak_(peak), seconds_(seconds) {}

  void kernels(std::string& text, const Profile& profile) const {
    const auto rows = by_kernel(profile);
    std::size_t width = 24;
    for (const auto& row : rows) width = std::max(width, row.kernel.size());
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "{:<{}}{:>9}{:>10}{:>9}{:>10}{:>9}{:>9}{:>10}{:>9}{:>9}\n", "kernel", width,
                   "launches", "ms", "share", "GFLOP", "GFLOP/s", "of peak", "MB", "GB/s",
                   "of copy");
    for (const auto& row : rows) {
      fmt::format_to(out, "{:<{}}{}\n", row.kernel, width, columns(row.total));
    }
    const Total all = all_kernels(profile);
    fmt::format_to(out, "{:<{}}{}\n", "all kernels", width, columns(all));
    const double outside = std::max(0.0, seconds_ - all.seconds);
    fmt::format_to(out, "{:<{}}{:>9}{:>10.3f}{:>9}\n", "outside kernels", width, "",
                   1e3 * per_step_ * outside, share(outside, seconds_));
  }

  void layers(std::string& text, const Profile& profile) const {
    const auto rows = by_layer(profile);
    std::size_t width = 24;
    bool again = false;
    for (const auto& row : rows) {
      width = std::max(width, row.layer.size());
      again = again || row.recompute.launches > 0;
    }
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "{:<{}}{:>12}{:>12}{}{:>9}{:>10}{:>9}{:>9}{:>10}{:>9}{:>9}\n", "layer",
                   width, "forward ms", "backward ms", again ? "    again ms" : "", "share",
                   "GFLOP", "GFLOP/s", "of peak", "MB", "GB/s", "of copy");
    for (const auto& row : rows) {
      const Total all = row.all();
      fmt::format_to(out, "{:<{}}{:>12.3f}{:>12.3f}", row.layer.empty() ? "(none)" : row.layer,
                     width, ms(row.forward), ms(row.backward));
      if (again) fmt::format_to(out, "{:>12.3f}", ms(row.recompute));
      fmt::format_to(out, "{:>9}{}\n", share(all.seconds, seconds_), work(all));
    }
  }

 private:
  double ms(const Total& t) const { return 1e3 * per_step_ * t.seconds; }

  std::string columns(const Total& t) const {
    return fmt::format("{:>9.1f}{:>10.3f}{:>9}{}", per_step_ * static_cast<double>(t.launches),
                       ms(t), share(t.seconds, seconds_), work(t));
  }

  std::string work(const Total& t) const {
    const std::string gflop =
        t.flops > 0.0 ? fmt::format("{:.3f}", 1e-9 * per_step_ * t.flops) : "";
    const std::string mb = t.bytes > 0.0 ? fmt::format("{:.2f}", 1e-6 * per_step_ * t.bytes) : "";
    return fmt::format("{:>10}{}{:>10}{}", gflop, rate(t.flops, t.seconds, peak_.flops), mb,
                       rate(t.bytes, t.seconds, peak_.bytes));
  }

  double per_step_;
  Peak peak_;
  double seconds_;
};

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::forward:
      return "forward";
    case Phase::backward:
      return "backward";
    case Phase::recompute:
      break;
  }
  return "recompute";
}

// A JSON string.
std::string quoted(const char* text) {
  std::string result = "\"";
  for (const char* c = text; *c != '\0'; ++c) {
    if (*c == '"' || *c == '\\') result += '\\';
    if (static_cast<unsigned char>(*c) < 0x20) {
      result += fmt::format("\\u{:04x}", static_cast<int>(*c));
    } else {
      result += *c;
    }
  }
  return result + '"';
}

}  // namespace

void Total::add(const Span& kernel) {
  ++launches;
  seconds += kernel.seconds();
  flops += kernel.cost.flops;
  bytes += kernel.cost.bytes;
}

void Total::add(const Total& other) {
  launches += other.launches;
  seconds += other.seconds;
  flops += other.flops;
  bytes += other.bytes;
}

Total LayerTotal::all() const {
  Total total = forward;
  total.add(backward);
  total.add(recompute);
  return total;
}

std::vector<KernelTotal> by_kernel(const Profile& profile) {
  std::map<std::string_view, Total> totals;
  for (const Span& span : profile.spans()) {
    if (span.kernel) totals[span.name].add(span);
  }
  std::vector<KernelTotal> list;
  for (const auto& [kernel, total] : totals) list.push_back({std::string(kernel), total});
  std::stable_sort(list.begin(), list.end(), [](const KernelTotal& a, const KernelTotal& b) {
    return a.total.seconds > b.total.seconds;
  });
  return list;
}

std::vector<LayerTotal> by_layer(const Profile& profile) {
  std::vector<LayerTotal> list;
  std::map<std::string_view, std::size_t> place;
  for (const Span& span : profile.spans()) {
    if (!span.kernel) continue;
    const std::string_view layer = span.layer == nullptr ? "" : span.layer;
    const auto [at, fresh] = place.try_emplace(layer, list.size());
    if (fresh) list.push_back({std::string(layer), {}, {}, {}});
    LayerTotal& row = list[at->second];
    (span.phase == Phase::forward    ? row.forward
     : span.phase == Phase::backward ? row.backward
                                     : row.recompute)
        .add(span);
  }
  return list;
}

Total all_kernels(const Profile& profile) {
  Total total;
  for (const Span& span : profile.spans()) {
    if (span.kernel) total.add(span);
  }
  return total;
}

std::string tables(const Profile& profile, int steps, const Peak& peak) {
  const Table table(steps, peak, profile.seconds());
  std::string text;
  table.kernels(text, profile);
  text += '\n';
  table.layers(text, profile);
  return text;
}

std::string trace(const Profile& profile) {
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  const auto out = std::back_inserter(text);
  const char* separator = "";
  for (const auto& [thread, name] : {std::pair{1, "host"}, std::pair{2, "device"}}) {
    fmt::format_to(out,
                   "{}{{\"ph\": \"M\", \"pid\": 1, \"tid\": {}, \"name\": \"thread_name\", "
                   "\"args\": {{\"name\": \"{}\"}}}}",
                   separator, thread, name);
    separator = ",\n";
  }
  for (const Span& span : profile.spans()) {
    fmt::format_to(out,
                   "{}{{\"ph\": \"X\", \"pid\": 1, \"tid\": {}, \"ts\": {:.3f}, \"dur\": {:.3f}, "
                   "\"name\": {}, \"cat\": \"{}\"",
                   separator, span.on_device ? 2 : 1, 1e-3 * static_cast<double>(span.begin_ns),
                   1e-3 * static_cast<double>(span.end_ns - span.begin_ns), quoted(span.name),
                   name_of(span.phase));
    if (span.kernel) {
      fmt::format_to(out, ", \"args\": {{\"layer\": {}, \"GFLOP\": {:.6g}, \"MB\": {:.6g}}}",
                     quoted(span.layer == nullptr ? "" : span.layer), 1e-9 * span.cost.flops,
                     1e-6 * span.cost.bytes);
    }
    text += '}';
  }
  return text + "\n]}\n";
}

void write_trace(const Profile& profile, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  file << trace(profile);
  file.close();
  if (!file) fail<IoError>("write_trace: cannot write {}", path);
}

}  // namespace ito::profile
