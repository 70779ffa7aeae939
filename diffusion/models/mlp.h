// Mlp: a denoiser of points [N, d], as small as such a network can be.
//
//   Rng init(seed, Purpose::init);
//   Mlp mlp({.width = 128}, init);
//   const Denoiser model = Parametrization{}.denoiser(std::cref(mlp));      // an Mlp is a Network
//
// Coordinates and time enter as sines and cosines at several frequencies beside the coordinates
// themselves, so that a small network can learn a density with fine structure; then come residual
// layers, and an output that starts at 0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/layers.h"

namespace ito {

struct MlpConfig {
  std::int64_t dimensions = 2;  ///< d
  std::int64_t width = 128;     ///< of every layer
  std::int64_t layers = 3;      ///< residual layers of that width
  std::int64_t octaves = 4;     ///< coordinates enter at the frequencies 1, 2, ..., 2^(octaves-1)
  std::int64_t time_features = 32;  ///< sines and cosines of the time; even, at least 4
  std::int64_t outputs = 0;         ///< numbers put out per point; 0: as many as dimensions
  /// Whether time is a real number within a few units, as ln(sigma) / 4 is (TimeInput::log_sigma);
  /// else a timestep.
  bool continuous_time = false;

  /// One line of JSON; its keys are the names of the fields.
  std::string to_json() const;
  /// Throws FormatError on text that is not a JSON object with these fields (continuous_time may be
  /// missing); ValueError on values out of range, as the network's constructor.
  static MlpConfig from_json(const std::string& text);
  void validate() const;

  friend bool operator==(const MlpConfig&, const MlpConfig&) = default;
};

struct Mlp {
  MlpConfig config;
  nn::Linear from_x, from_t;
  std::vector<nn::Linear> hidden;
  nn::Linear out;

  Mlp(const MlpConfig& config, Rng& init);

  /// x [N, d]; t [N], i64 or in x's dtype. Returns [N, outputs]. Throws ShapeError, DTypeError.
  Tensor operator()(const Tensor& x, const Tensor& t) const;

  template <class V>
  void visit(V&& v) {
    v("from_x", from_x);
    v("from_t", from_t);
    v("hidden", hidden);
    v("out", out);
  }
};

}  // namespace ito
