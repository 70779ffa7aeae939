#include "examples/app/point_model.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "autograd/ops/elementwise.h"
#include "examples/app/exit_codes.h"
#include "nn/json_text.h"
#include "nn/module.h"
#include "nn/safetensors.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

PointModel load(const std::string& path) {
  const nn::SafeTensors file = nn::load_safetensors(path);
  const auto text = file.metadata.find("point_model");
  if (text == file.metadata.end()) {
    fail<FormatError>("{}: not a model of points; only files made by train_points can be used",
                      path);
  }
  Rng init(0, Purpose::init);
  PointModel model = make_point_model(PointModelCard::from_json(text->second, path), init);
  nn::assign_parameters(nn::named_parameters(*model.network), file);
  return model;
}

}  // namespace

std::string PointModelCard::to_json() const {
  return Json{{"network", Json::parse(network.to_json())},
              {"points", name_of(points)},
              {"schedule", schedule},
              {"timesteps", timesteps},
              {"predict", name_of(predict)}}
      .dump();
}

PointModelCard PointModelCard::from_json(const std::string& text, const std::string& file) {
  PointModelCard card;
  try {
    const Json j = nn::parse_json<Json>(text);
    card.network = MlpConfig::from_json(j.at("network").dump());
    card.points = enum_from_name<data::PointSet>(j.at("points").get<std::string>());
    card.schedule = j.at("schedule").get<std::string>();
    card.timesteps = j.at("timesteps").get<std::int64_t>();
    card.predict = enum_from_name<Prediction>(j.at("predict").get<std::string>());
  } catch (const nlohmann::json::exception& e) {
    fail<FormatError>("{}: its description cannot be read: {}", file, e.what());
  } catch (const Error& e) {
    fail<FormatError>("{}: its description cannot be used: {}", file, e.what());
  }
  if (card.timesteps < 1 || card.timesteps > 100'000) {
    fail<FormatError>("{}: its timesteps must be from 1 to 100000; got {}", file, card.timesteps);
  }
  return card;
}

Parametrization PointModel::parametrization() const {
  constexpr double sigma_data = 1.0;  // what data::PointSet has
  return is_edm() ? Parametrization::edm(sigma_data) : Parametrization{.prediction = card.predict};
}

Denoiser PointModel::denoiser() const {
  return parametrization().denoiser(
      [mlp = network.get()](const Tensor& x, const Tensor& time) { return (*mlp)(x, time); });
}

std::vector<Level> PointModel::levels(std::int64_t steps, Spacing spacing) const {
  return is_edm() ? sampling_levels(Path::edm(), steps, spacing)
                  : sampling_levels(schedule(), steps, spacing);
}

Tensor PointModel::initial_noise(const Tensor& normal) const {
  return is_edm() ? Path::edm().level(Path::edm().max_time()).sigma * normal : normal;
}

PointModel make_point_model(const PointModelCard& card, Rng& init) {
  return with_exit_code(ExitCode::usage, [&] {
    PointModel model{card, nullptr};
    model.card.network.continuous_time = model.is_edm();
    model.network = std::make_unique<Mlp>(model.card.network, init);
    model.parametrization().expect_usable(model.schedule());
    return model;
  });
}

void save_point_model(const std::string& path, const PointModel& model) {
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;  // writing the file says what is wrong
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  nn::save_safetensors(path, nn::named_parameters(*model.network),
                       {{"point_model", model.card.to_json()}});
}

PointModel load_point_model(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    stop(ExitCode::checkpoint, "--load {}: no such file", path);
  }
  return with_exit_code(ExitCode::checkpoint, [&] { return load(path); });
}

}  // namespace ito::app
