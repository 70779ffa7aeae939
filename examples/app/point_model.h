// A trained denoiser of points in a file, and getting it back.
//
//   save_point_model("moons.safetensors", mlp, card);
//   const PointModel model = load_point_model("moons.safetensors");
//   sample_euler(model.denoiser(), x_T, model.levels(20, Spacing::karras));
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/points.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/models/mlp.h"
#include "diffusion/sampling/spacing.h"

namespace ito::app {

/// Stands in the file's metadata under "point_model".
struct PointModelCard {
  MlpConfig network = {};
  data::PointSet points = data::PointSet::gaussians;
  std::string schedule = "cosine";
  std::int64_t timesteps = 200;
  Prediction predict = Prediction::v;  ///< edm: trained at noise levels of its own, see Path::edm

  std::string to_json() const;
  /// Throws FormatError, naming `file`.
  static PointModelCard from_json(const std::string& text, const std::string& file);
};

struct PointModel {
  PointModelCard card;
  std::unique_ptr<Mlp> network;

  bool is_edm() const { return card.predict == Prediction::edm; }
  NoiseSchedule schedule() const { return NoiseSchedule::named(card.schedule, card.timesteps); }
  Parametrization parametrization() const;
  Denoiser denoiser() const;
  /// For a sampler of `steps` steps: of the schedule or, for edm, of Path::edm().
  std::vector<Level> levels(std::int64_t steps, Spacing spacing) const;
  /// Normal noise [N, 2] as noise of the first of these levels.
  Tensor initial_noise(const Tensor& normal) const;
};

/// An untrained one. Throws ProgramError (usage) for a card that describes none.
PointModel make_point_model(const PointModelCard& card, Rng& init);

/// Writes `path` and the folders it needs. Throws IoError.
void save_point_model(const std::string& path, const PointModel& model);
/// Reads what save_point_model wrote. Throws ProgramError (checkpoint).
PointModel load_point_model(const std::string& path);

}  // namespace ito::app
