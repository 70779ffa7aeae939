#include "examples/app/scatter_plot.h"

#include <fmt/core.h>

#include <cmath>

#include "autograd/ops/layout.h"
#include "examples/app/svg_plot.h"

namespace ito::app {
namespace {

constexpr int gap = 12, title_height = 22, caption_height = 20;

// All points as one path: steps from each to the next in units of half a pixel, and lines without
// length, whose round ends are the dots. A point takes about eight bytes.
std::string dots(const ScatterPanel& panel, int left, int top, const ScatterOptions& o) {
  const Tensor points = cast(panel.points, DType::f64);
  const double* p = points.data<double>();
  std::string path = "M0 0";
  long last_x = 0, last_y = 0;
  for (std::int64_t i = 0; i < points.size(0); ++i) {
    const double x = p[2 * i] / o.reach, y = p[2 * i + 1] / o.reach;
    if (!(std::abs(x) < 1.0 && std::abs(y) < 1.0)) continue;
    const long to_x = std::lround(o.size * (1.0 + x)), to_y = std::lround(o.size * (1.0 - y));
    path += fmt::format("m{} {}h0", to_x - last_x, to_y - last_y);
    last_x = to_x;
    last_y = to_y;
  }
  return fmt::format(
      "<path transform='translate({} {}) scale(.5)' d='{}' stroke='{}' stroke-width='3.4' "
      "stroke-linecap='round' stroke-opacity='0.6'/>",
      left, top, path, panel.color);
}

}  // namespace

std::string scatter_plot(const std::vector<ScatterPanel>& panels, const ScatterOptions& o) {
  const int count = static_cast<int>(panels.size());
  const int columns = std::min(o.columns, count), rows = (count + o.columns - 1) / o.columns;
  const int row_height = title_height + o.size + caption_height + gap;
  const int width = columns * (o.size + gap) + gap, height = rows * row_height + gap;
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}' width='{0}' height='{1}' "
      "role='img' font-family='sans-serif' font-size='12' fill='#333'>"
      "<rect width='{0}' height='{1}' fill='white'/>",
      width, height);
  for (int i = 0; i < count; ++i) {
    const ScatterPanel& panel = panels[static_cast<std::size_t>(i)];
    const int left = gap + (i % o.columns) * (o.size + gap);
    const int top = gap + (i / o.columns) * row_height + title_height;
    svg += fmt::format(
        "<text x='{0}' y='{1}' font-weight='bold'>{2}</text>"
        "<text x='{0}' y='{3}' fill='#666' font-size='11'>{4}</text>"
        "<rect x='{0}' y='{5}' width='{6}' height='{6}' fill='#fafafa' stroke='#ddd'/>",
        left, top - 7, escape_html(panel.title), top + o.size + 15, escape_html(panel.caption), top,
        o.size);
    svg += dots(panel, left, top, o);
  }
  return svg + "</svg>\n";
}

}  // namespace ito::app
