#include "examples/app/image_run.h"

#include "data/png.h"
#include "examples/app/preview.h"
#include "nn/fingerprint.h"

namespace ito::app {
namespace {

ReportPicture noising(const data::Dataset& dataset, const NoiseSchedule& schedule,
                      std::uint64_t seed) {
  const Tensor& images = dataset.images;
  const Tensor first = images.view({images.size(1), images.size(2), images.size(3)});
  const data::Bytes png = data::encode_png(noising_strip(schedule, first, seed));
  const std::int64_t last = schedule.timesteps() - 1;
  return {fmt::format("t = 0 to {}, ten steps of equal length", last),
          std::string(reinterpret_cast<const char*>(png.data()), png.size()), 3};
}

// What decides what is learnt besides the options: the images.
std::vector<OptionRow> rows_of_run(const TrainOptions& o, const data::Dataset& d) {
  const Tensor& images = d.images;
  const auto fingerprint = [](const Tensor& x) { return nn::fingerprint(x.raw(), x.bytes()); };
  std::vector<OptionRow> rows = {{"dataset", d.name, learned},
                                 {"images", images.size(0), learned},
                                 {"image_size", images.size(1), learned},
                                 {"image_channels", images.size(3), learned},
                                 {"images_fingerprint", fingerprint(images), learned},
                                 {"classes", d.class_names, of_run}};
  if (o.class_conditional) {
    rows.push_back({"labels_fingerprint", fingerprint(d.labels), learned});
  }
  for (const OptionRow& row : rows_of(o)) {
    if (row.key != "drop_class" || o.class_conditional) rows.push_back(row);
  }
  return rows;
}

}  // namespace

ModelCard model_card(const TrainOptions& o, const UNetConfig& network,
                     const data::Dataset& dataset) {
  return {.network = network,
          .schedule = o.schedule,
          .timesteps = o.timesteps,
          .betas = {},
          .parametrization = parametrization_of(o.predict),
          .dataset = dataset.name,
          .class_names = dataset.class_names};
}

training::RunOptions image_run_options(const TrainOptions& o, const data::Dataset& dataset,
                                       const ModelCard& card) {
  training::RunOptions run = run_options(o);
  run.dataset = o.overfit > 0 ? 0 : dataset.count();
  run.timesteps = o.timesteps;
  // Timesteps by importance depend on the losses of the step before.
  run.look_at_each = o.t_sampling == TimestepSampling::importance;
  run.metadata = {{"config", card.to_json()}};
  return run;
}

RunDescription describe(const TrainOptions& o, const data::Dataset& dataset, const ModelCard& card,
                        ConditionalNetwork model, const nn::Ema& ema, Device device) {
  const Tensor& images = dataset.images;
  RunDescription about;
  about.subject = dataset.name;
  about.facts = {{"data", fmt::format("{}, {} images of {} x {} x {}", dataset.name, images.size(0),
                                      images.size(1), images.size(2), images.size(3))},
                 {"process", fmt::format("{} schedule, T = {}, predicts {}", o.schedule,
                                         o.timesteps, name_of(o.predict))}};
  if (!dataset.left_out.empty()) about.remarks.push_back("left out  " + dataset.left_out);
  constexpr std::size_t shown = 3;
  for (std::size_t i = 0; i < std::min(shown, dataset.skipped.size()); ++i) {
    about.remarks.push_back((i == 0 ? "such as   " : "          ") + dataset.skipped[i]);
  }
  // DDPM's levels end near noise for many timesteps only.
  const double left = card.noise_schedule().levels().back().alpha;
  if (left > 0.1) {
    about.remarks.push_back(fmt::format(
        "note      at the last timestep {:.0f} % of the signal are left (alpha {:.2f}), but "
        "samplers start from noise alone; --schedule linear-rescaled or cosine, or more "
        "--timesteps",
        100 * left * left, left));
  }
  about.rows = [&] { return rows_of_run(o, dataset); };
  about.data_bytes = images.bytes();
  const auto seed = static_cast<std::uint64_t>(o.seed);
  about.noising = {noising(dataset, card.noise_schedule(), seed)};
  if (o.sample_count == 0) return about;
  about.grid = [&, device, model, seed](std::int64_t steps, bool graph) {
    return preview_grid(
        card, model, ema, {images.size(1), images.size(2), images.size(3)}, device,
        {o.sample_count, steps, o.sample_eta, seed, graph, card.network.num_classes});
  };
  about.grid_text = {
      {"sampler", fmt::format("ddim, {} steps, eta {}", o.sample_steps, o.sample_eta)},
      {"rows", "upper half: averaged weights; lower half: raw weights"},
      {"columns", card.network.num_classes > 0 ? "classes" : "samples"}};
  return about;
}

}  // namespace ito::app
