#include "examples/app/training_config.h"

#include <nlohmann/json.hpp>
#include <set>

#include "examples/app/files.h"
#include "nn/fingerprint.h"
#include "tensor/error.h"
#include "tensor/version.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

// What checkpoints of older versions meant, which lack these keys.
const Json& before_there_were() {
  static const Json defaults = {{"class_conditional", false}, {"conditioning", "add"},
                                {"loss_weight", "simple"},    {"learn_variance", false},
                                {"t_sampling", "uniform"},    {"lr_decay", 0},
                                {"ema_warmup", "ratio"},      {"ema_every", 1}};
  return defaults;
}

Json learning(const TrainOptions& o, const data::Dataset& d) {
  const Tensor& images = d.images;
  Json json = {{"dataset", d.name},
               {"images", images.size(0)},
               {"image_size", images.size(1)},
               {"image_channels", images.size(3)},
               {"images_fingerprint", nn::fingerprint(images.raw(), images.bytes())},
               {"flip", o.flip},
               {"overfit", o.overfit},
               {"schedule", o.schedule},
               {"timesteps", o.timesteps},
               {"predict", o.predict},
               {"channels", o.channels},
               {"multipliers", o.multipliers},
               {"blocks", o.blocks},
               {"attention", o.attention},
               {"heads", o.heads},
               {"groups", o.groups},
               {"dropout", o.dropout},
               {"batch", o.batch},
               {"lr", o.lr},
               {"warmup", o.warmup},
               {"lr_decay", o.lr_decay},
               {"clip", o.clip},
               {"ema", o.ema},
               {"ema_warmup", o.ema_warmup},
               {"ema_every", o.ema_every},
               {"seed", o.seed},
               {"class_conditional", o.class_conditional},
               {"conditioning", o.conditioning},
               {"loss_weight", o.loss_weight},
               {"learn_variance", o.learn_variance},
               {"t_sampling", o.t_sampling}};
  if (o.class_conditional) {
    json["drop_class"] = o.drop_class;
    json["labels_fingerprint"] = nn::fingerprint(d.labels.raw(), d.labels.bytes());
  }
  return json;
}

}  // namespace

std::string learning_json(const TrainOptions& o, const data::Dataset& d) {
  return learning(o, d).dump();
}

std::string config_json(const TrainOptions& o, const data::Dataset& d,
                        const std::string& learning) {
  const Json all = {{"program", o.program},
                    {"ito", build::version()},
                    {"learning", Json::parse(learning)},
                    {"run",
                     {{"data", o.data},
                      {"classes", d.class_names},
                      {"minutes", o.minutes > 0 ? Json(o.minutes) : Json()},
                      {"steps", o.steps},
                      {"out", o.out},
                      {"sample_every", o.sample_every},
                      {"sample_steps", o.sample_steps},
                      {"sample_eta", o.sample_eta},
                      {"sample_count", o.sample_count},
                      {"checkpoint_every", o.checkpoint_every},
                      {"keep_last", o.keep_last},
                      {"log_every", o.log_every},
                      {"threads", o.threads},
                      {"device", o.device},
                      {"dtype", o.dtype},
                      {"recompute", o.recompute},
                      {"graph", o.graph}}}};
  // A path may be any bytes; JSON must be UTF-8.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> differences(const std::string& stored, const std::string& now) {
  Json a = Json::parse(stored, nullptr, /*allow_exceptions=*/false);
  const Json b = Json::parse(now);
  if (!a.is_object()) fail<FormatError>("configuration in the checkpoint: not a JSON object");
  for (const auto& item : before_there_were().items()) {
    if (b.contains(item.key()) && !a.contains(item.key())) a[item.key()] = item.value();
  }
  std::set<std::string> keys;
  for (const auto& item : a.items()) keys.insert(item.key());
  for (const auto& item : b.items()) keys.insert(item.key());
  const auto text = [](const Json& j, const std::string& key) {
    return j.contains(key) ? j[key].dump() : std::string("nothing");
  };
  std::vector<std::string> lines;
  for (const std::string& key : keys) {
    if (text(a, key) == text(b, key)) continue;
    lines.push_back(
        fmt::format("{}: {} in the checkpoint, {} now", key, text(a, key), text(b, key)));
  }
  return lines;
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
