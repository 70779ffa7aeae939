#include "examples/app/preview.h"

#include "autograd/ops/layout.h"
#include "data/batch.h"
#include "data/png.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/sampling/samplers.h"
#include "examples/app/signals.h"

namespace ito::app {

namespace {

struct Layout {
  std::int64_t count, columns;
  Tensor labels;  // of the columns, or none
};

// Whole rows: a column for each class or, without classes, columns that divide the count where that
// gives a pleasant shape.
Layout layout_of(const PreviewOptions& o, Device device) {
  if (o.num_classes == 0) {
    std::int64_t columns = std::min<std::int64_t>(o.count, 8);
    while (o.count % columns != 0) --columns;
    return {o.count, columns, {}};
  }
  const std::int64_t columns = std::min<std::int64_t>(o.num_classes, 16);
  const std::int64_t count = (o.count + columns - 1) / columns * columns;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < count; ++i) labels.push_back(i % columns);
  return {count, columns, Tensor::from(labels, Shape{count}).to(device)};
}

}  // namespace

Tensor preview_grid(const ModelCard& card, const ConditionalNetwork& network, const nn::Ema& ema,
                    const Shape& shape, Device device, const PreviewOptions& o) {
  const Layout layout = layout_of(o, device);
  const Denoiser model =
      thresholded(card.parametrization.denoiser(network, {.labels = layout.labels}), clip_x0);
  const std::vector<Level> levels = sampling_levels(card.noise_schedule(), o.steps, Spacing::even);
  Rng rng(o.seed, Purpose::sample);
  const Tensor x_T = randn(rng, {layout.count, shape[0], shape[1], shape[2]}, DType::f32, device);
  const Observer stop_when_asked = [](const SampleStep&) {
    if (stop_requested()) throw PreviewStopped{};
  };
  const DdimOptions ddim{.eta = o.eta, .loop = {.observer = stop_when_asked, .graph = o.graph}};
  Tensor averaged;
  {
    const nn::EmaScope use(ema);
    averaged = sample_ddim(model, x_T, levels, rng, ddim);
  }
  const Tensor raw = sample_ddim(model, x_T, levels, rng, ddim);
  return data::image_grid(concat({averaged, raw}, 0).to(Device::cpu()), layout.columns);
}

Tensor noising_strip(const NoiseSchedule& schedule, const Tensor& image, std::uint64_t seed) {
  constexpr std::int64_t count = 10;
  const std::int64_t last = schedule.timesteps() - 1;
  std::vector<std::int64_t> times;
  for (std::int64_t i = 0; i < count; ++i) times.push_back(last * i / (count - 1));
  const Tensor x = data::from_bytes(image);
  Shape one{1, image.size(0), image.size(1), image.size(2)};
  const Tensor x0 = concat(std::vector<Tensor>(count, x.view(one)), 0);
  Rng rng(seed, Purpose::sample);
  const Tensor eps = randn(rng, x0.shape());
  const Levels levels = schedule.levels(Tensor::from(times, Shape{count}), x0);
  return data::image_grid(add_noise(x0, eps, levels), count);
}

}  // namespace ito::app
