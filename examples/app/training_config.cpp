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

Json to_json(const OptionValue& value) {
  return std::visit([](const auto& v) { return Json(v); }, value);
}

// The options of this kind as a JSON object.
Json options_json(const TrainOptions& o, OptionRole::Kind kind) {
  Json json = Json::object();
  for (const OptionRow& row : rows_of(o)) {
    if (row.role.kind == kind) json[row.key] = to_json(row.value);
  }
  return json;
}

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
  json.update(options_json(o, OptionRole::learning));
  if (!o.class_conditional) json.erase("drop_class");
  return json.dump();
}

std::string config_json(const TrainOptions& o, const data::Dataset& d,
                        const std::string& learning) {
  Json run = options_json(o, OptionRole::run);
  if (o.minutes == 0) run["minutes"] = nullptr;
  run["classes"] = d.class_names;
  const Json all = {{"program", o.program},
                    {"ito", build::version()},
                    {"learning", Json::parse(learning)},
                    {"run", run}};
  // A path may be any bytes; JSON must be UTF-8.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> differences(const std::string& stored, const std::string& now) {
  Json a = Json::parse(stored, nullptr, /*allow_exceptions=*/false);
  const Json b = Json::parse(now);
  if (!a.is_object()) fail<FormatError>("configuration in the checkpoint: not a JSON object");
  for (const OptionRow& row : rows_of({})) {
    const bool lacks = row.role.before && b.contains(row.key) && !a.contains(row.key);
    if (lacks) a[row.key] = to_json(*row.role.before);
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
