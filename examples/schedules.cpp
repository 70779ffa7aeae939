// Noise schedules in numbers and pictures.
//
//   schedules                                          a table of all of them
//   schedules --timesteps 100                          the same with T = 100
//   schedules --alpha-bar a.svg --snr b.svg            two plots
//   schedules --image noising.png                      an image on its way to noise, a row for each
#include <fmt/ranges.h>

#include <algorithm>

#include "data/png.h"
#include "examples/app/command_line.h"
#include "examples/app/datasets.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/output.h"
#include "examples/app/svg_plot.h"
#include "ito.h"

namespace {

using namespace ito;

struct Options {
  std::string names = "all", alpha_bar, snr, image, dataset = "fashion-mnist", data;
  std::int64_t timesteps = 1000, index = 0, scale = 2, seed = 0;
};

struct Named {
  std::string name;
  NoiseSchedule schedule;
};

bool parse(Options& o, int argc, char** argv) {
  app::CommandLine line("schedules", "Shows noise schedules as a table, plots and images.");
  line.heading("Schedules");
  line.add("--names", o.names, "A,B,...", "which, separated by commas, or all");
  line.add("--timesteps", o.timesteps, {2, 100'000}, "T, steps of the forward process");
  line.heading("Plots");
  line.add("--alpha-bar", o.alpha_bar, "FILE.svg", "share of the signal's power, by t / T");
  line.add("--snr", o.snr, "FILE.svg", "signal-to-noise ratio, by t / T");
  line.heading("Images");
  line.add("--image", o.image, "FILE.png",
           "one image at eleven timesteps, a row for each schedule");
  line.add_choice("--dataset", o.dataset, {"fashion-mnist", "mnist", "cifar10", "synthetic"},
                  "where the image is from; synthetic needs no file");
  line.add("--data", o.data, "DIR",
           "where the data set lies (default: where its package or scripts/get_data.sh puts it)");
  line.add("--index", o.index, {0, INT64_MAX}, "which of its images");
  line.add("--scale", o.scale, {1, 16}, "the picture shows a pixel as this many squared");
  line.add("--seed", o.seed, {0, INT64_MAX}, "of the noise");
  return line.parse(argc, argv);
}

std::vector<Named> chosen(const Options& o) {
  std::vector<std::string> names = NoiseSchedule::names();
  if (o.names != "all") {
    names.clear();
    for (std::size_t from = 0; from <= o.names.size();) {
      const std::size_t comma = std::min(o.names.find(',', from), o.names.size());
      names.push_back(o.names.substr(from, comma - from));
      from = comma + 1;
    }
  }
  std::vector<Named> list;
  for (const std::string& name : names) {
    if (o.names == "all" && name == "linear-rescaled" && o.timesteps <= 20) continue;  // is none
    const std::vector<std::string> known = NoiseSchedule::names();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      app::stop(app::ExitCode::usage, "--names must be all or some of {}; got \"{}\"",
                fmt::join(known, ","), name);
    }
    list.push_back({name, NoiseSchedule::named(name, o.timesteps)});
  }
  return list;
}

void print_table(const std::vector<Named>& schedules) {
  app::print(stdout, "{:16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}\n", "schedule", "beta_1", "beta_T",
             "ab_T/2", "ab_T", "SNR_T", "prior KL");
  for (const auto& [name, s] : schedules) {
    const std::int64_t last = s.timesteps() - 1;
    app::print(stdout, "{:16} {:9.3g} {:9.3g} {:9.3g} {:9.3g} {:9.3g} {:10.3g}\n", name, s.beta(0),
               s.beta(last), s.alpha_bar(last / 2), s.alpha_bar(last), s.snr(last), s.prior_kl());
  }
  app::print(stdout,
             "ab is alpha_bar; prior KL, in nats per dimension, is of x_T from N(0, 1) at unit "
             "variance of the data\n");
}

void plot(const std::string& file, const std::vector<Named>& schedules,
          double (NoiseSchedule::*value)(std::int64_t) const, const std::string& title,
          bool log_y) {
  static const char* const colors[] = {"#1f77b4", "#d62728", "#2ca02c", "#ff7f0e",
                                       "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
                                       "#bcbd22", "#17becf", "#000000", "#aec7e8"};
  std::vector<app::Series> series;
  int letters = 0;
  for (const auto& [name, s] : schedules) {
    app::Series line{name, colors[series.size() % std::size(colors)], {}, {}};
    for (std::int64_t t = 0; t < s.timesteps(); ++t) {
      line.x.push_back(static_cast<double>(t + 1) / static_cast<double>(s.timesteps()));
      line.y.push_back((s.*value)(t));
    }
    series.push_back(std::move(line));
    letters += static_cast<int>(name.size());
  }
  app::PlotOptions options;
  options.title = title;
  options.log_y = log_y;
  options.x_label = "t / T";
  options.width = std::max(640, 7 * letters + 26 * static_cast<int>(series.size()) + 180);
  options.height = 360;
  app::write_text(file, app::line_plot(series, options));
}

void draw(const Options& o, const std::vector<Named>& schedules) {
  const data::Dataset set = app::load_split(o.dataset, o.data, data::Split::train);
  if (o.index >= set.count()) {
    app::stop(app::ExitCode::usage, "--index must be below {}, the number of images; got {}",
              set.count(), o.index);
  }
  const std::vector<std::int64_t> visited =
      visited_timesteps(o.timesteps, std::min<std::int64_t>(o.timesteps, 11));
  const auto columns = static_cast<std::int64_t>(visited.size());
  const Tensor x0 = data::gather_batch(
      set, std::vector<std::int64_t>(visited.size(), o.index));  // a copy for each timestep
  const Tensor t = Tensor::from(visited, {columns});
  Rng rng(static_cast<std::uint64_t>(o.seed), Purpose::noise);
  const Tensor eps = randn(rng, x0.shape());
  std::vector<Tensor> rows;
  for (const auto& [name, s] : schedules) rows.push_back(add_noise(x0, eps, s.levels(t, x0)));
  const Tensor grid = data::image_grid(concat(rows, 0), columns);
  data::write_png(o.image, data::upscale(grid, o.scale), {{"schedules", o.names}});
}

}  // namespace

int main(int argc, char** argv) {
  return app::run_program("schedules", [&] {
    Options o;
    if (!parse(o, argc, argv)) return app::ExitCode::success;
    const std::vector<Named> schedules =
        app::with_exit_code(app::ExitCode::usage, [&] { return chosen(o); });
    app::expect_output("--alpha-bar", o.alpha_bar);
    app::expect_output("--snr", o.snr);
    app::expect_output("--image", o.image, ".png");
    print_table(schedules);
    if (!o.alpha_bar.empty()) {
      plot(o.alpha_bar, schedules, &NoiseSchedule::alpha_bar, "alpha_bar", false);
    }
    if (!o.snr.empty()) {
      plot(o.snr, schedules, &NoiseSchedule::snr, "SNR", true);
    }
    if (!o.image.empty()) draw(o, schedules);
    return app::ExitCode::success;
  });
}
