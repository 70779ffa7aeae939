// A trained denoiser of points in a file, and getting it back.
//
//   save_point_model("moons.safetensors", mlp, card);
//   const PointModel model = load_point_model("moons.safetensors");
//   sample_heun(model.process(), model.denoiser(), x_T, rng);
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "diffusion/denoiser/edm.h"
#include "diffusion/models/mlp.h"

namespace ito::app {

/// Stands in the file's metadata under "point_model".
struct PointModelCard {
  MlpConfig network = {};
  std::string points = "gaussians";  ///< name of the data::PointSet
  std::string schedule = "cosine";
  std::int64_t timesteps = 200;
  std::string predict =
      "v";  ///< edm: trained at noise levels of its own, see diffusion/denoiser/edm.h

  std::string to_json() const;
  /// Throws FormatError, naming `file`.
  static PointModelCard from_json(const std::string& text, const std::string& file);
};

struct PointModel {
  PointModelCard card;
  std::unique_ptr<Mlp> network;

  GaussianDiffusion process() const;
  Denoiser denoiser() const;
  Edm edm() const { return {.sigma_data = 1.0}; }  ///< what data::PointSet has
};

/// An untrained one. Throws ProgramError (usage) for a card that describes none.
PointModel make_point_model(const PointModelCard& card, Rng& init);

/// Writes `path` and the folders it needs. Throws IoError.
void save_point_model(const std::string& path, const PointModel& model);
/// Reads what save_point_model wrote. Throws ProgramError (checkpoint).
PointModel load_point_model(const std::string& path);

}  // namespace ito::app
