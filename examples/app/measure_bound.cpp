#include "examples/app/measure_bound.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/batch.h"
#include "diffusion/likelihood/analytic_variance.h"
#include "diffusion/sampling/samplers.h"
#include "examples/app/exit_codes.h"
#include "examples/app/progress.h"
#include "examples/app/signals.h"

namespace ito::app {
namespace {

void expect_suitable(const Model& model, const data::Dataset& set, std::int64_t steps) {
  const UNetConfig& net = model.card.network;
  if (set.images.size(1) != net.image_size || set.images.size(3) != net.in_channels) {
    stop(ExitCode::usage, "--dataset {} has images {}; the model is for [N, {}, {}, {}]", set.name,
         set.images.shape().str(), net.image_size, net.image_size, net.in_channels);
  }
  if (steps > model.card.timesteps) {
    stop(ExitCode::usage, "--bound-steps must be at most {}, the timesteps of this model; got {}",
         model.card.timesteps, steps);
  }
}

// One batch: the images, the denoiser for their classes and the noise that is theirs.
struct Batch {
  Denoiser model;
  Tensor x0;
  Rng rng;
};

// Calls f(batch) for the first `count` images of a set.
template <class F>
void for_batches(const Model& model, const data::Dataset& set, std::int64_t count,
                 std::int64_t calls_per_image, const BoundRequest& request, Device device,
                 const F& f) {
  Progress progress(count * calls_per_image, 0, 0, request.quiet);
  for (std::int64_t first = 0; first < count; first += request.batch) {
    std::vector<std::int64_t> images(
        static_cast<std::size_t>(std::min(request.batch, count - first)));
    std::iota(images.begin(), images.end(), first);
    const bool classes = model.card.network.num_classes > 0;
    const Denoiser denoiser = model.denoiser(
        {.labels = classes ? data::gather_labels(set, images).to(device) : Tensor{}});
    std::int64_t calls = first * calls_per_image;
    const Denoiser watched = [&](const Tensor& x, const Levels& levels) {
      expect_no_signal();
      progress.update(calls += x.size(0), NAN, 0, 0);
      return denoiser(x, levels);
    };
    Rng rng(static_cast<std::uint64_t>(request.seed), Purpose::noise);
    rng.seek(0, static_cast<std::uint64_t>(first));
    f(Batch{watched, data::gather_batch(set, images).to(device), rng});
  }
  progress.finish();
}

}  // namespace

BoundReport measure_bound(const Model& model, const std::function<data::Dataset(data::Split)>& load,
                          const BoundRequest& request, Device device) {
  const data::Dataset test = load(data::Split::test);
  expect_suitable(model, test, request.steps);
  const std::int64_t steps = request.steps > 0 ? request.steps : model.card.timesteps;
  const std::int64_t count = std::min(request.images, test.count());
  const NoiseSchedule chain =
      model.schedule().respaced(visited_timesteps(model.card.timesteps, steps));
  BoundOptions options{.variance = enum_from_name<ReverseVariance>(request.variance)};
  if (options.variance == ReverseVariance::analytic) {
    options.mean_squared_eps.assign(static_cast<std::size_t>(steps), 0.0);
    for_batches(
        model, load(data::Split::train), count, steps, request, device, [&](const Batch& batch) {
          const auto part = explained_noise(batch.model, batch.x0, chain.levels(), batch.rng);
          const double share = static_cast<double>(batch.x0.size(0)) / static_cast<double>(count);
          for (std::size_t i = 0; i < part.size(); ++i) {
            options.mean_squared_eps[i] += share * part[i];
          }
        });
  }
  BoundReport report{{}, request.variance, "test", request.draws};
  const std::int64_t calls = request.draws > 0 ? request.draws + 1 : steps;
  for_batches(model, test, count, calls, request, device, [&](const Batch& batch) {
    const VariationalBound bound(chain, options, DType::f32, device);
    const BoundTable table = request.draws > 0
                                 ? bound.estimate(batch.model, batch.x0, batch.rng, request.draws)
                                 : bound.evaluate(batch.model, batch.x0, batch.rng);
    if (report.table.images() == 0) {
      report.table = table;
    } else {
      report.table.add(table);
    }
  });
  return report;
}

}  // namespace ito::app
