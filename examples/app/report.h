// report.html: what a run did, on one page that needs no other file: curves as inline SVG, pictures
// as embedded PNGs, nothing fetched from anywhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/training/metrics.h"

namespace ito::app {

using training::MetricsLine;
using training::TimingLine;

struct ReportPicture {
  std::string caption;
  std::string png;  ///< the bytes of a PNG file
  int scale = 2;    ///< CSS pixels per pixel
};

struct Report {
  std::string title;
  std::string status;                                      ///< "finished at step 4000"
  std::vector<std::pair<std::string, std::string>> facts;  ///< a table: name, value
  std::vector<MetricsLine> metrics;
  std::vector<TimingLine> timing;
  std::vector<ReportPicture> noising;  ///< one image at growing t
  std::vector<ReportPicture> samples;  ///< grids, oldest first
  std::string config;                  ///< JSON text
  const char* loss = "L_simple";       ///< what the loss is
  const char* unit = "images";         ///< of the speed
  bool by_timestep = true;             ///< there are losses by quarter of the timesteps,
  bool average = true;                 ///< and an average of the weights
};

std::string render_html(const Report& report);

/// Standard base64 with padding (RFC 4648, section 4).
std::string base64(const std::string& bytes);

}  // namespace ito::app
