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
#include "tensor/enum_names.h"

namespace ito {

/// The images that a classifier was trained on: as they are (t = 0), or x_t at every t.
enum class ClassifierInputs { clean, noisy };
constexpr EnumNames<ClassifierInputs, 2> enum_names(ClassifierInputs) {
  return {"inputs", {{ClassifierInputs::clean, "clean"}, {ClassifierInputs::noisy, "noisy"}}};
}

/// Stands in the file's metadata under "classifier".
struct ClassifierCard {
  ClassifierConfig network;
  ClassifierInputs inputs = ClassifierInputs::clean;
  std::string schedule = "linear";  ///< which x_t it knows
  std::int64_t timesteps = 1000;
  std::string dataset;
  std::vector<std::string> class_names;
  double test_accuracy = 0;  ///< on the clean images of the test split

  std::string to_json() const;
  /// Throws FormatError, ValueError.
  static ClassifierCard from_json(const std::string& text);
  void validate() const;
};

/// Writes network and card. Throws IoError.
void save_classifier(const std::string& path, Classifier& network, const ClassifierCard& card);

struct LoadedClassifier {
  ClassifierCard card;
  std::unique_ptr<Classifier> network;
  std::string fingerprint;  ///< of the weights
};

/// Reads what save_classifier wrote; the network lives on `device`. Throws IoError, FormatError.
LoadedClassifier load_classifier(const std::string& path, Device device = Device::cpu());

/// The class that each image most likely shows.
///   x_t [N, H, W, C] on the network's device, t i64 [N]; zeros for clean images
std::vector<std::int64_t> classify(const Classifier& network, const Tensor& x_t, const Tensor& t);

}  // namespace ito
