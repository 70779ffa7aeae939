#include "diffusion/models/model_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "diffusion/denoiser/guidance.h"
#include "diffusion/models/diffusers_format.h"
#include "nn/checkpoint.h"
#include "nn/fingerprint.h"
#include "nn/flat.h"
#include "nn/json_text.h"
#include "nn/safetensors.h"

namespace ito {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

nn::SafeTensors load_weights(const std::string& path, Weights weights, std::string& source) {
  const char* name = weights == Weights::average ? "ema.safetensors" : "model.safetensors";
  if (!fs::is_directory(path)) {
    source = path;
    return nn::load_safetensors(path);
  }
  const nn::Checkpoint checkpoint = nn::load_checkpoint(path);
  source = (checkpoint.directory / name).string();
  return checkpoint.load(name);
}

std::string value_or(const nn::Metadata& metadata, const char* key, const char* otherwise) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? otherwise : found->second;
}

Model load_ito(const std::string& path, Weights weights) {
  Model model;
  const nn::SafeTensors file = load_weights(path, weights, model.source);
  const auto config = file.metadata.find("config");
  if (config == file.metadata.end()) {
    fail<FormatError>(
        "{}: no configuration in its metadata; only files made by ito's training "
        "programs can be used without one",
        model.source);
  }
  model.card = ModelCard::from_json(config->second, model.source);
  model.weights = value_or(file.metadata, "weights", "raw");
  model.fingerprint = nn::fingerprint(file);
  const std::string step = value_or(file.metadata, "step", "0");
  model.step = std::strtoll(step.c_str(), nullptr, 10);
  Rng init(0, Purpose::init);
  model.network = std::make_shared<UNet>(model.card.network, init);
  nn::assign_parameters(nn::named_parameters(*model.network), file);
  return model;
}

Model load_from_diffusers(const std::string& path) {
  DiffusersModel from = load_diffusers(path);
  const nn::SafeTensors file{from.source, std::move(from.tensors), {}};
  Rng init(0, Purpose::init);
  Model model{std::move(from.card), {}, 0, nn::fingerprint(file), from.source, "converted"};
  model.network = std::make_shared<UNet>(model.card.network, init);
  nn::assign_parameters(nn::named_parameters(*model.network), file);
  return model;
}

SamplingDefaults sampling_of(const Json& json) {
  SamplingDefaults s;
  s.clip = json.value("clip", s.clip);
  s.threshold = json.value("threshold", s.threshold);
  s.max_threshold = json.value("max_threshold", s.max_threshold);
  s.spacing = json.value("spacing", s.spacing);
  s.steps_offset = json.value("steps_offset", s.steps_offset);
  s.variance = json.value("variance", s.variance);
  if (!(s.clip >= 0.0 && s.threshold >= 0.0 && s.threshold <= 1.0 && s.max_threshold >= 1.0)) {
    fail<ValueError>(
        "sampling: needs clip >= 0, threshold in [0, 1] and max_threshold >= 1; got "
        "{}, {} and {}",
        s.clip, s.threshold, s.max_threshold);
  }
  return s;
}

void expect_finite_weights(const Model& model) {
  for (const auto& [name, tensor] : nn::named_parameters(*model.network)) {
    const float* values = tensor.data<float>();
    const auto bad =
        std::find_if_not(values, values + tensor.numel(), [](float x) { return std::isfinite(x); });
    if (bad == values + tensor.numel()) continue;
    fail<FormatError>("{}: weights must be finite; got {} in {}", model.source, *bad, name);
  }
}

}  // namespace

NoiseSchedule ModelCard::noise_schedule() const {
  const bool custom = schedule == "custom";
  if (custom && std::ssize(betas) != timesteps) {
    fail<ValueError>("a custom schedule needs a beta for each of {} timesteps; got {}", timesteps,
                     betas.size());
  }
  return custom ? NoiseSchedule::from_betas(betas) : NoiseSchedule::named(schedule, timesteps);
}

std::string ModelCard::to_json() const {
  Json json = {{"network", Json::parse(network.to_json())},
               {"schedule", schedule},
               {"timesteps", timesteps},
               {"predict", name_of(parametrization.prediction)},
               {"dataset", dataset},
               {"class_names", class_names}};
  if (!betas.empty()) json["betas"] = betas;
  if (!null_class) json["null_class"] = false;
  if (sampling != SamplingDefaults{}) {
    json["sampling"] = {{"clip", sampling.clip},
                        {"threshold", sampling.threshold},
                        {"max_threshold", sampling.max_threshold},
                        {"spacing", sampling.spacing},
                        {"steps_offset", sampling.steps_offset},
                        {"variance", sampling.variance}};
  }
  const Parametrization usual{.prediction = parametrization.prediction};
  if (parametrization == usual) return json.dump();
  json["scale_input"] = parametrization.scale_input;
  json["log_sigma_time"] = parametrization.time_input == TimeInput::log_sigma;
  json["sigma_data"] = parametrization.sigma_data;
  return json.dump();
}

ModelCard ModelCard::from_json(const std::string& text, const std::string& file) {
  ModelCard card;
  try {
    const Json j = nn::parse_json<Json>(text);
    card.network = UNetConfig::from_json(j.at("network").dump());
    card.schedule = j.at("schedule").get<std::string>();
    if (!j.at("timesteps").is_number_integer()) {
      fail<ValueError>("timesteps must be a whole number; got {}", j["timesteps"].dump());
    }
    card.timesteps = j["timesteps"].get<std::int64_t>();
    card.betas = j.value("betas", std::vector<double>{});
    Parametrization& p = card.parametrization;
    p.prediction = enum_from_name<Prediction>(j.at("predict").get<std::string>());
    p.scale_input = j.value("scale_input", p.scale_input);
    p.sigma_data = j.value("sigma_data", p.sigma_data);
    if (j.value("log_sigma_time", false)) p.time_input = TimeInput::log_sigma;
    card.dataset = j.at("dataset").get<std::string>();
    if (card.timesteps > 100'000) {
      fail<ValueError>("timesteps must be at most 100000; got {}", card.timesteps);
    }
    if (!card.betas.empty() && card.schedule != "custom") {
      fail<ValueError>("betas belong to the schedule custom; got {}", card.schedule);
    }
    if (!(p.sigma_data > 0.0 && std::isfinite(p.sigma_data))) {
      fail<ValueError>("sigma_data must be above 0; got {}", p.sigma_data);
    }
    p.expect_usable(card.noise_schedule());
    card.null_class = j.value("null_class", true);
    card.sampling = sampling_of(j.value("sampling", Json::object()));
    card.class_names = j.value("class_names", std::vector<std::string>{});
  } catch (const nlohmann::json::exception& e) {
    fail<FormatError>("{}: its configuration cannot be read: {}", file, e.what());
  } catch (const Error& e) {
    fail<FormatError>("{}: its configuration cannot be used: {}", file, e.what());
  }
  return card;
}

std::int64_t Model::classes() const {
  const std::int64_t classes = card.network.num_classes;
  return classes > 0 && !card.null_class ? classes + 1 : classes;
}

Shape Model::image_shape(std::int64_t n) const {
  return {n, card.network.image_size, card.network.image_size, card.network.in_channels};
}

Denoiser Model::denoiser(const Condition& condition) const { return denoiser(condition, 1.0); }

Denoiser Model::denoiser(const Condition& condition, double guidance_scale) const {
  const std::int64_t classes = card.network.num_classes;
  if (condition.labels.defined() && classes == 0) {
    fail<ValueError>("{}: this network was trained without classes, none can be asked for", source);
  }
  const ConditionalNetwork net = [self = network](const Tensor& x, const Tensor& time,
                                                  const Condition& c) {
    return (*self)(x, time, c);
  };
  if (classes > 0 && !card.null_class) {
    if (!condition.labels.defined()) {
      fail<ValueError>("{}: this network knows {} classes and no images of any: name a class",
                       source, Model::classes());
    }
    if (guidance_scale != 1.0) {
      fail<ValueError>(
          "{}: guidance compares with images of any class, which this network was not trained on",
          source);
    }
    return card.parametrization.denoiser(net, condition);
  }
  if (!condition.labels.defined()) {
    if (guidance_scale != 1.0) {
      fail<ValueError>("{}: guidance needs labels to go towards; got none", source);
    }
    return card.parametrization.denoiser(net, condition);
  }
  const Condition any = same_label(classes, condition.labels.size(0), condition.labels.device());
  return card.parametrization.denoiser(
      classifier_free_guidance(net, condition, any, guidance_scale));
}

Model load_model(const std::string& path, Weights weights, Device device, DType dtype) {
  if (!fs::exists(path)) fail<IoError>("{}: no such file or directory", path);
  Model model = is_diffusers_folder(path) ? load_from_diffusers(path) : load_ito(path, weights);
  expect_finite_weights(model);
  if (!device.is_cpu()) nn::FlatParameters(*model.network, device, dtype);
  return model;
}

}  // namespace ito
