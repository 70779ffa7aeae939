// Learning rate as a function of the step: a linear warm-up, then constant or a cosine.
//
//   const auto lr = nn::LrSchedule::constant(2e-4, /*warmup=*/5000);
//   for (std::int64_t step = 0; step < steps; ++step) adam.step(lr(step));
#pragma once

#include <cstdint>

namespace ito::nn {

class LrSchedule {
 public:
  /// peak * min(1, (step + 1) / warmup): the first step already moves, step warmup - 1 is the first
  /// with the peak. warmup = 0 for none. Throws ValueError for peak < 0 or not finite, warmup < 0.
  static LrSchedule constant(double peak, std::int64_t warmup = 0);
  /// After the same warm-up, half a cosine from `peak` at step `warmup` to `last` at step `total`
  /// and beyond (Loshchilov & Hutter 2016, arXiv 1608.03983, eq. 5):
  ///   last + (peak - last) (1 + cos(pi (step - warmup) / (total - warmup))) / 2
  /// Throws ValueError also unless total > warmup and 0 <= last <= peak.
  static LrSchedule cosine(double peak, std::int64_t warmup, std::int64_t total, double last = 0.0);

  /// At step 0, 1, ...
  double operator()(std::int64_t step) const;

 private:
  LrSchedule() = default;
  double peak_ = 0.0, last_ = 0.0;
  std::int64_t warmup_ = 0, total_ = 0;  // total_ = 0: constant
};

}  // namespace ito::nn
