// A small convolutional classifier that knows how noisy its input is: the way down of the U-Net,
// a mean over the pixels and a linear layer (as in Dhariwal & Nichol 2021, arXiv 2105.05233,
// section 4.1, without the attention).
//
//   Rng init(seed, Purpose::init);
//   const Classifier classifier({.image_size = 28, .classes = 10}, init);
//   Tensor logits = classifier(x_t, t);              // [N, 10]; guides samplers (guidance.h)
//   Tensor features = classifier.features(images);   // [N, 64]; for comparing sets of images
//
// Trained on noisy images it is the p(y | x_t) of classifier guidance; trained at t = 0 alone, a
// classifier of clean images. Any image size from 4 pixels on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/models/unet.h"
#include "nn/layers.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito {

struct ClassifierConfig {
  std::int64_t image_size = 28;  ///< height and width of the images
  std::int64_t in_channels = 1;
  std::int64_t classes = 10;
  std::int64_t base_channels = 32;  ///< of the first level, and size of the sinusoids of t
  /// One per level. The first has half the resolution of the images, each further one half of that
  /// before.
  std::vector<std::int64_t> channel_multipliers = {1, 2};
  std::int64_t blocks_per_level = 1;
  std::int64_t norm_groups = 8;

  /// Length of the feature vectors: the channels of the last level.
  std::int64_t features() const { return base_channels * channel_multipliers.back(); }

  /// Throws ValueError with the field, its value and what it may be.
  void validate() const;

  /// One line of JSON; its keys are the names of the fields.
  std::string to_json() const;
  /// Throws FormatError on text that is not a JSON object, an unknown or missing key, or a value of
  /// the wrong type; ValueError as validate().
  static ClassifierConfig from_json(const std::string& text);

  friend bool operator==(const ClassifierConfig&, const ClassifierConfig&) = default;
};

struct Classifier {
  ClassifierConfig config;
  nn::Conv2d conv_in;  ///< halves the resolution
  TimeEmbedding time_embedding;
  std::vector<UNetLevel> down_blocks;
  nn::GroupNorm norm_out;
  nn::Linear head;

  /// Initial weights as those of the U-Net; the head starts at zero, so that the network starts by
  /// finding all classes equally likely. Throws ValueError as config.validate().
  Classifier(const ClassifierConfig& config, Rng& init);

  /// The mean over the pixels of the last feature map, [N, config.features()].
  ///   x_t [N, image_size, image_size, in_channels] in the dtype of the parameters, t i64 [N]
  /// Throws ShapeError, DTypeError, DeviceError.
  Tensor features(const Tensor& x_t, const Tensor& t) const;
  /// The same for clean images: t = 0.
  Tensor features(const Tensor& x) const;

  /// Logits, [N, classes]: log p(class | x_t) up to a constant of each row.
  Tensor operator()(const Tensor& x_t, const Tensor& t) const;
  /// The same for clean images: t = 0.
  Tensor operator()(const Tensor& x) const;

  template <class V>
  void visit(V&& v) {
    v("conv_in", conv_in);
    v("time_embedding", time_embedding);
    v("down_blocks", down_blocks);
    v("norm_out", norm_out);
    v("head", head);
  }
};

}  // namespace ito
