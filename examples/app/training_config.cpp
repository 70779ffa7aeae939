#include "examples/app/training_config.h"

#include <nlohmann/json.hpp>

#include "nn/fingerprint.h"
#include "tensor/version.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string learning_json(const TrainOptions& o, const data::Dataset& d) {
  const Tensor& images = d.images;
  Json json = {{"dataset", d.name},
               {"images", images.size(0)},
               {"image_size", images.size(1)},
               {"image_channels", images.size(3)},
               {"images_fingerprint", nn::fingerprint(images.raw(), images.bytes())}};
  if (o.class_conditional) {
    json["labels_fingerprint"] = nn::fingerprint(d.labels.raw(), d.labels.bytes());
  }
  json.update(Json::parse(to_json(rows_of(o), OptionRole::learning)));
  if (!o.class_conditional) json.erase("drop_class");
  return json.dump();
}

std::string config_json(const TrainOptions& o, const data::Dataset& d,
                        const std::string& learning) {
  Json run = Json::parse(to_json(rows_of(o), OptionRole::run));
  if (o.minutes == 0) run["minutes"] = nullptr;
  run["classes"] = d.class_names;
  const Json all = {{"program", o.program},
                    {"ito", build::version()},
                    {"learning", Json::parse(learning)},
                    {"run", run}};
  // A path may be any bytes; JSON must be UTF-8.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

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

}  // namespace ito::app
