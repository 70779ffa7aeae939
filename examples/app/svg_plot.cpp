#include "examples/app/svg_plot.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace ito::app {
namespace {

constexpr std::size_t max_points = 400;
constexpr int left = 62, right = 14, top = 34, bottom = 42;

// The mean of groups of neighbouring finite points, at most `max_points` of them.
Series thinned(const Series& s, bool log_y) {
  Series finite{s.name, s.color, {}, {}};
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i]) || (log_y && s.y[i] <= 0)) continue;
    finite.x.push_back(s.x[i]);
    finite.y.push_back(s.y[i]);
  }
  const std::size_t group = (finite.x.size() + max_points - 1) / max_points;
  if (group <= 1) return finite;
  Series mean{s.name, s.color, {}, {}};
  for (std::size_t i = 0; i < finite.x.size(); i += group) {
    const std::size_t end = std::min(i + group, finite.x.size());
    double x = 0, y = 0;
    for (std::size_t k = i; k < end; ++k) {
      x += finite.x[k];
      y += finite.y[k];
    }
    mean.x.push_back(x / static_cast<double>(end - i));
    mean.y.push_back(y / static_cast<double>(end - i));
  }
  return mean;
}

struct Axis {
  double low = 0, high = 1;
  bool log = false;
  double from = 0, to = 1;  // pixels
  double operator()(double v) const {
    const double a = log ? std::log10(low) : low;
    const double b = log ? std::log10(high) : high;
    return from + ((log ? std::log10(v) : v) - a) / (b - a) * (to - from);
  }
};

void cover(Axis& axis, double v) {
  axis.low = std::min(axis.low, v);
  axis.high = std::max(axis.high, v);
}

// 1, 2 and 5 times powers of ten when few decades are shown, else the powers alone.
std::vector<double> log_ticks(double low, double high) {
  std::vector<double> list;
  const bool few = std::log10(high / low) < 2.5;
  for (int e = static_cast<int>(std::floor(std::log10(low))); e <= std::ceil(std::log10(high));
       ++e) {
    for (const double m : {1.0, 2.0, 5.0}) {
      const double v = m * std::pow(10.0, e);
      if (v >= low && v <= high && (few || m == 1.0)) list.push_back(v);
    }
  }
  if (list.size() < 3) return ticks(low, high, 5);  // hardly a decade: as if it were linear
  return list;
}

void settle(Axis& axis) {
  if (axis.log) {
    axis.low /= 1.1;
    axis.high *= 1.1;
  } else if (axis.high - axis.low < 1e-12 * std::abs(axis.high) || axis.high == axis.low) {
    axis.low -= axis.low == 0 ? 1 : 0.5 * std::abs(axis.low);
    axis.high += axis.high == 0 ? 1 : 0.5 * std::abs(axis.high);
  }
}

std::string grid(const Axis& x, const Axis& y, const PlotOptions& o) {
  std::string svg;
  for (const double v : ticks(x.low, x.high, 7)) {
    svg += fmt::format(
        "<line x1='{0:.1f}' x2='{0:.1f}' y1='{1}' y2='{2}' stroke='#e6e6e6'/>"
        "<text x='{0:.1f}' y='{3}' text-anchor='middle'>{4:g}</text>",
        x(v), top, o.height - bottom, o.height - bottom + 16, v);
  }
  for (const double v : y.log ? log_ticks(y.low, y.high) : ticks(y.low, y.high, 5)) {
    svg += fmt::format(
        "<line x1='{0}' x2='{1}' y1='{2:.1f}' y2='{2:.1f}' stroke='#e6e6e6'/>"
        "<text x='{3}' y='{4:.1f}' text-anchor='end'>{5:g}</text>",
        left, o.width - right, y(v), left - 6, y(v) + 4, v);
  }
  svg += fmt::format(
      "<rect x='{}' y='{}' width='{}' height='{}' fill='none' stroke='#999'/>"
      "<text x='{}' y='{}' text-anchor='middle'>{}</text>"
      "<text transform='translate(14,{}) rotate(-90)' text-anchor='middle'>{}</text>"
      "<text x='{}' y='18' font-weight='bold' font-size='14'>{}</text>",
      left, top, o.width - left - right, o.height - top - bottom, (left + o.width - right) / 2,
      o.height - 8, escape_html(o.x_label), (top + o.height - bottom) / 2, escape_html(o.y_label),
      left, escape_html(o.title));
  return svg;
}

std::string curve(const Series& s, const Axis& x, const Axis& y) {
  if (s.x.size() == 1) {
    return fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='3' fill='{}'/>", x(s.x[0]), y(s.y[0]),
                       s.color);
  }
  std::string points;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    points += fmt::format("{:.1f},{:.1f} ", x(s.x[i]), y(s.y[i]));
  }
  return fmt::format("<polyline fill='none' stroke='{}' stroke-width='1.6' points='{}'/>", s.color,
                     points);
}

std::string legend(const std::vector<Series>& series, const PlotOptions& o) {
  std::string svg;
  int x = o.width - right;
  for (auto s = series.rbegin(); s != series.rend(); ++s) {  // from the right edge leftwards
    x -= static_cast<int>(s->name.size()) * 7 + 26;
    svg += fmt::format(
        "<line x1='{}' x2='{}' y1='14' y2='14' stroke='{}' stroke-width='3'/>"
        "<text x='{}' y='18'>{}</text>",
        x, x + 14, s->color, x + 18, escape_html(s->name));
  }
  return svg;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::vector<double> ticks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {low};
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double fraction = rough / power;
  const double step = power * (fraction < 1.5 ? 1 : fraction < 3.5 ? 2 : fraction < 7.5 ? 5 : 10);
  std::vector<double> list;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k) {
    list.push_back(k == 0 ? 0.0 : k * step);
  }
  return list;
}

std::string line_plot(const std::vector<Series>& series, const PlotOptions& o) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  Axis x{inf, -inf, false, double(left), double(o.width - right)};
  Axis y{inf, -inf, o.log_y, double(o.height - bottom), double(top)};
  std::vector<Series> shown;
  for (const Series& s : series) {
    shown.push_back(thinned(s, o.log_y));
    for (const double v : shown.back().x) cover(x, v);
    for (const double v : shown.back().y) cover(y, v);
  }
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}' width='{0}' height='{1}' "
      "role='img' font-family='sans-serif' font-size='11' fill='#333'>",
      o.width, o.height);
  if (x.low > x.high) {
    return svg + fmt::format("<text x='20' y='30'>{}: nothing measured yet</text></svg>",
                             escape_html(o.title));
  }
  settle(x);
  settle(y);
  svg += grid(x, y, o);
  for (const Series& s : shown) {
    if (!s.x.empty()) svg += curve(s, x, y);
  }
  if (series.size() > 1) svg += legend(series, o);
  return svg + "</svg>";
}

}  // namespace ito::app
