// Point sets side by side as inline SVG: what a distribution looks like, and what samples of it do.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace ito::app {

struct ScatterPanel {
  std::string title;
  std::string caption;  ///< a line below
  std::string color;    ///< any CSS colour
  Tensor points;        ///< [n, 2], f32 or f64, on the CPU
};

struct ScatterOptions {
  int columns = 4;
  int size = 220;      ///< side of a panel in CSS pixels
  double reach = 2.5;  ///< panels show [-reach, reach]^2; points outside are left out
};

/// An `<svg>` element with one square panel per point set, in rows, all of one scale. Each point is
/// a dot that lets others shine through, so that density shows.
std::string scatter_plot(const std::vector<ScatterPanel>& panels,
                         const ScatterOptions& options = {});

}  // namespace ito::app
