#include "examples/app/report.h"

#include <fmt/core.h>

#include "examples/app/svg_plot.h"

namespace ito::app {
namespace {

constexpr const char* style = R"(
body { font: 15px/1.5 sans-serif; color: #222; background: #fff; max-width: 1340px; margin:
  2em auto;
       padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: 0; }
h2 { font-size: 1.15em; margin: 1.8em 0 .4em; border-bottom: 1px solid #ddd; }
.status { color: #555; margin-top: .2em; }
.row { display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start; }
figure { margin: 0; }
figcaption { font-size: .85em; color: #555; }
img { image-rendering: pixelated; display: block; max-width: 100%; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; }
td { padding: .1em 1.2em .1em 0; vertical-align: top; }
td:first-child { color: #555; }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 13px; }
)";

Series metric(const std::string& name, const std::string& color, const Report& r,
              double (*value)(const MetricsLine&)) {
  Series s{name, color, {}, {}};
  for (const MetricsLine& line : r.metrics) {
    s.x.push_back(static_cast<double>(line.step));
    s.y.push_back(value(line));
  }
  return s;
}

// Exponential average; its weights sum to 1 from the first point on.
Series smoothed(Series s, double keep) {
  double mean = 0, weight = 0;
  for (double& y : s.y) {
    if (y != y) continue;  // NaN: every step of that line was skipped
    weight = keep * weight + 1 - keep;
    mean += (y - mean) * (1 - keep) / weight;
    y = mean;
  }
  return s;
}

std::string curves(const Report& r) {
  const Series loss = metric("mean", "#b8d4ea", r, [](const MetricsLine& l) { return l.loss; });
  Series smooth = smoothed(loss, 0.9);
  smooth.name = "smoothed";
  smooth.color = "#1f77b4";
  std::string html = line_plot({loss, smooth}, {"Loss", "step", r.loss, true});

  const char* colors[] = {"#d62728", "#ff7f0e", "#2ca02c", "#1f77b4"};
  double (*quarter[])(const MetricsLine&) = {
      [](const MetricsLine& l) { return l.quarter_loss[0]; },
      [](const MetricsLine& l) { return l.quarter_loss[1]; },
      [](const MetricsLine& l) { return l.quarter_loss[2]; },
      [](const MetricsLine& l) { return l.quarter_loss[3]; }};
  std::vector<Series> quarters;
  for (int q = 0; q < 4; ++q) {
    quarters.push_back(smoothed(metric(std::to_string(q + 1), colors[q], r, quarter[q]), 0.9));
  }
  if (r.by_timestep) {
    html += line_plot(quarters,
                      {"Loss by quarter of the timesteps (1: little noise)", "step", r.loss, true});
  }
  html += line_plot({metric("lr", "#9467bd", r, [](const MetricsLine& l) { return l.lr; })},
                    {"Learning rate", "step", "lr"});
  html +=
      line_plot({metric("norm", "#8c564b", r, [](const MetricsLine& l) { return l.grad_norm; })},
                {"Gradient norm before clipping", "step", "|g|", true});
  Series speed{"speed", "#17becf", {}, {}};
  for (const TimingLine& line : r.timing) {
    speed.x.push_back(static_cast<double>(line.step));
    speed.y.push_back(line.images_per_second);
  }
  html += line_plot({speed}, {"Speed", "step", std::string(r.unit) + " / s"});
  if (r.average) {
    html +=
        line_plot({metric("decay", "#7f7f7f", r, [](const MetricsLine& l) { return l.ema_decay; })},
                  {"Decay of the weights' average", "step", "decay"});
  }
  return html;
}

// Width of a PNG from its header, so that the page can enlarge it by a whole factor.
unsigned png_width(const std::string& png) {
  if (png.size() < 24) return 0;
  unsigned width = 0;
  for (std::size_t i = 16; i < 20; ++i) width = width << 8 | static_cast<unsigned char>(png[i]);
  return width;
}

std::string picture(const ReportPicture& p) {
  return fmt::format(
      "<figure><img width='{}' alt='{}' src='data:image/png;base64,{}'>"
      "<figcaption>{}</figcaption></figure>\n",
      png_width(p.png) * static_cast<unsigned>(p.scale), escape_html(p.caption), base64(p.png),
      escape_html(p.caption));
}

std::string pictures(const std::string& title, const std::string& text,
                     const std::vector<ReportPicture>& list) {
  if (list.empty()) return "";
  std::string html = fmt::format("<h2>{}</h2>\n<p>{}</p>\n<div class='row'>\n", title, text);
  for (const ReportPicture& p : list) html += picture(p);
  return html + "</div>\n";
}

}  // namespace

std::string base64(const std::string& bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      const bool padding = i + k > bytes.size();
      text += padding ? '=' : digits[group >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

std::string render_html(const Report& r) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
      "<meta name='viewport' content='width=device-width'>\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<p class='status'>{2}</p>\n",
      escape_html(r.title), style, escape_html(r.status));
  html += "<table>\n";
  for (const auto& [name, value] : r.facts) {
    html += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escape_html(name), escape_html(value));
  }
  html += "</table>\n";
  html += "<h2>Curves</h2>\n<div class='row'>\n" + curves(r) + "</div>\n";
  // Newest first: that is what one opens the page for.
  const std::vector<ReportPicture> newest_first(r.samples.rbegin(), r.samples.rend());
  html +=
      pictures("Samples over time",
               "Every grid starts from the same noise. Upper half: averaged weights (EMA), which "
               "are the ones to use; lower half: the weights of that step.",
               newest_first);
  html += pictures("Forward process", "One training image with more and more noise.", r.noising);
  html += fmt::format("<h2>Configuration</h2>\n<pre>{}</pre>\n</body>\n</html>\n",
                      escape_html(r.config));
  return html;
}

}  // namespace ito::app
