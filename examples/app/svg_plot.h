// Line charts as inline SVG, for report.html. Not a plotting library: one x axis, one y axis.
#pragma once

#include <string>
#include <vector>

namespace ito::app {

struct Series {
  std::string name;
  std::string color;         ///< any CSS colour
  std::vector<double> x, y;  ///< of equal length; points that are not finite are left out
};

struct PlotOptions {
  std::string title;
  std::string x_label = "step";
  std::string y_label;
  bool log_y = false;             ///< logarithmic; values <= 0 are left out
  int width = 640, height = 300;  ///< in CSS pixels
};

/// An `<svg>` element with axes, grid, legend and one polyline per series. Series with many points
/// are drawn as the mean of neighbours, so that the file stays small.
std::string line_plot(const std::vector<Series>& series, const PlotOptions& options);

/// Round numbers that cover [low, high], about `count` of them.
std::vector<double> ticks(double low, double high, int count);

/// The text with &, <, > and quotes escaped for HTML and SVG.
std::string escape_html(const std::string& text);

}  // namespace ito::app
