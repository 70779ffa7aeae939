// Trained classifiers in files: one safetensors file with the weights and, in its metadata, what
// they were trained on.
//
//   const LoadedClassifier loaded = load_classifier("out/classifier.safetensors");
//   const Tensor features = loaded.network->features(images);      // [N, 64]
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/models/classifier.h"

namespace ito::app {

/// Stands in the file's metadata under "classifier".
struct ClassifierCard {
  ClassifierConfig network;
  std::string inputs = "clean";  ///< "clean": trained at t = 0; "noisy": at every t of the schedule
  std::string schedule = "linear";  ///< which x_t it knows
  std::int64_t timesteps = 1000;
  std::string dataset;
  std::vector<std::string> class_names;
  double test_accuracy = 0;  ///< on the clean images of the test split

  bool noisy() const { return inputs == "noisy"; }
  std::string to_json() const;
  /// Throws FormatError, naming `file`.
  static ClassifierCard from_json(const std::string& text, const std::string& file);
};

/// Writes network and card. Throws IoError.
void save_classifier(const std::string& path, Classifier& network, const ClassifierCard& card);

struct LoadedClassifier {
  ClassifierCard card;
  std::unique_ptr<Classifier> network;
  std::string fingerprint;  ///< of the weights
};

/// Reads what save_classifier wrote; the network lives on `device`. Throws ProgramError
/// (checkpoint).
LoadedClassifier load_classifier(const std::string& path, Device device = Device::cpu());

/// The class that each image most likely shows.
///   x_t [N, H, W, C] on the network's device, t i64 [N]; zeros for clean images
std::vector<std::int64_t> classify(const Classifier& network, const Tensor& x_t, const Tensor& t);

}  // namespace ito::app
