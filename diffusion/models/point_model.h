// Denoisers of points in the plane: the network, what it was trained on, and files of both.
//
//   Rng init(1, Purpose::init);
//   const PointModel fresh(PointModelCard{.predict = Prediction::v}, init);
//   save_point_model("moons.safetensors", fresh);
//   const PointModel model = load_point_model("moons.safetensors");
//   Rng noise(0, Purpose::sample);
//   const Tensor points = sample_euler(model.denoiser(), randn(noise, {512, 2}),
//                                      sampling_levels(model.schedule(), 20, Spacing::karras));
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/points.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/models/mlp.h"
#include "diffusion/process/path.h"
#include "diffusion/process/schedule.h"

namespace ito {

/// Stands in the file's metadata under "point_model".
struct PointModelCard {
  MlpConfig network = {};
  data::PointSet points = data::PointSet::gaussians;
  std::string schedule = "cosine";
  std::int64_t timesteps = 200;
  Prediction predict = Prediction::v;  ///< edm: trained at noise levels of its own, see Path::edm

  std::string to_json() const;
  /// Throws FormatError, ValueError.
  static PointModelCard from_json(const std::string& text);
  void validate() const;
};

struct PointModel {
  PointModelCard card;
  std::shared_ptr<Mlp> network;

  /// An untrained one. Throws ValueError for a card that describes none.
  PointModel(const PointModelCard& card, Rng& init);

  bool is_edm() const { return card.predict == Prediction::edm; }
  NoiseSchedule schedule() const { return NoiseSchedule::named(card.schedule, card.timesteps); }
  Parametrization parametrization() const;
  Denoiser denoiser() const;  ///< keeps the network alive
};

/// Writes `path`. Throws IoError.
void save_point_model(const std::string& path, const PointModel& model);
/// Reads what save_point_model wrote. Throws IoError, FormatError.
PointModel load_point_model(const std::string& path);

}  // namespace ito
