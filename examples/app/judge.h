// Compares sets of images with real ones by the features of a classifier.
//
//   const Judge judge(classifier, train.images, device, /*batch=*/100);
//   const ProxyRow row = judge.row("samples", to_bytes(samples));
#pragma once

#include <cstdint>
#include <string>

#include "diffusion/models/classifier_file.h"
#include "examples/app/evaluation_report.h"

namespace ito::app {

class Judge {
 public:
  /// `reference`: real images, u8 [N, H, W, C]. The classifier lives on `device` and must outlive
  /// this; `batch` images are computed at a time.
  Judge(const LoadedClassifier& classifier, const Tensor& reference, Device device,
        std::int64_t batch);

  /// compare_features for `images`, u8 [n, H, W, C]. With the labels that they should have, i64
  /// [n], the accuracy too. A stop signal ends it with a ProgramError.
  ProxyRow row(const std::string& name, const Tensor& images, const Tensor& labels = {}) const;

 private:
  Tensor cut(const Tensor& images, std::int64_t first) const;
  Tensor features(const Tensor& images) const;
  double accuracy(const Tensor& images, const Tensor& labels) const;

  const LoadedClassifier& classifier_;
  Device device_;
  std::int64_t batch_;
  Tensor reference_;  // features, f32 [N, D]
};

}  // namespace ito::app
