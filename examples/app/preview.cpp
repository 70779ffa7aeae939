#include "examples/app/preview.h"

#include "autograd/ops/layout.h"
#include "data/batch.h"
#include "data/png.h"
#include "diffusion/samplers.h"
#include "examples/app/signals.h"

namespace ito::app {

Tensor preview_grid(const GaussianDiffusion& process, const Denoiser& model, const nn::Ema& ema,
                    const Shape& shape, Device device, const PreviewOptions& o) {
  Rng rng(o.seed, Purpose::sample);
  const Tensor x_T = randn(rng, {o.count, shape[0], shape[1], shape[2]}, DType::f32, device);
  DdimOptions ddim;
  ddim.steps = o.steps;
  ddim.eta = o.eta;
  ddim.limit_x0 = clip_x0;
  ddim.graph = o.graph;
  ddim.observer = [](const SampleStep&) {
    if (stop_requested()) throw PreviewStopped{};
  };
  Tensor averaged;
  {
    const nn::EmaScope use(ema);
    averaged = sample_ddim(process, model, x_T, rng, ddim);
  }
  const Tensor raw = sample_ddim(process, model, x_T, rng, ddim);
  // Whole rows for each half: columns divide the count where that gives a pleasant shape.
  std::int64_t columns = std::min<std::int64_t>(o.count, 8);
  while (o.count % columns != 0) --columns;
  return data::image_grid(concat({averaged, raw}, 0).to(Device::cpu()), columns);
}

Tensor noising_strip(const GaussianDiffusion& process, const Tensor& image, std::uint64_t seed) {
  constexpr std::int64_t count = 10;
  const std::int64_t last = process.schedule.timesteps() - 1;
  std::vector<std::int64_t> times;
  for (std::int64_t i = 0; i < count; ++i) times.push_back(last * i / (count - 1));
  const Tensor x = data::from_bytes(image);
  Shape one{1, image.size(0), image.size(1), image.size(2)};
  const Tensor x0 = concat(std::vector<Tensor>(count, x.alias(one)), 0);
  Rng rng(seed, Purpose::sample);
  const Tensor eps = randn(rng, x0.shape());
  const Tensor t = Tensor::from(times, Shape{count});
  return data::image_grid(process.add_noise(x0, t, eps), count);
}

}  // namespace ito::app
