#include "diffusion/models/point_model.h"

#include "autograd/ops/elementwise.h"
#include "diffusion/models/config_json.h"
#include "nn/safetensors.h"

namespace ito {
namespace {

constexpr auto point_model_fields = [](auto& card, const auto& f) {
  f("network", card.network);
  f("points", card.points);
  f("schedule", card.schedule);
  f("timesteps", card.timesteps);
  f("predict", card.predict);
};

}  // namespace

std::string PointModelCard::to_json() const { return config_to_json(*this, point_model_fields); }

PointModelCard PointModelCard::from_json(const std::string& text) {
  return config_from_json<PointModelCard>("point model", text, point_model_fields);
}

void PointModelCard::validate() const {
  expect_range("point model", "timesteps", timesteps, 1, 100'000);
}

PointModel::PointModel(const PointModelCard& wanted, Rng& init) : card(wanted) {
  card.network.continuous_time = is_edm();
  network = std::make_shared<Mlp>(card.network, init);
  parametrization().expect_usable(schedule());
}

Parametrization PointModel::parametrization() const {
  constexpr double sigma_data = 1.0;  // what data::PointSet has
  return is_edm() ? Parametrization::edm(sigma_data) : Parametrization{.prediction = card.predict};
}

Denoiser PointModel::denoiser() const {
  return parametrization().denoiser(
      [mlp = network](const Tensor& x, const Tensor& time) { return (*mlp)(x, time); });
}

void save_point_model(const std::string& path, const PointModel& model) {
  nn::save_safetensors(path, nn::named_parameters(*model.network),
                       {{"point_model", model.card.to_json()}});
}

PointModel load_point_model(const std::string& path) {
  const nn::SafeTensors file = nn::load_safetensors(path);
  Rng init(0, Purpose::init);
  PointModel model(card_of<PointModelCard>(file, "point_model", "train_points"), init);
  nn::assign_parameters(nn::named_parameters(*model.network), file);
  return model;
}

}  // namespace ito
