#include "nn/lr_schedule.h"

#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace ito::nn {

LrSchedule LrSchedule::constant(double peak, std::int64_t warmup) {
  if (!std::isfinite(peak) || peak < 0.0) {
    fail<ValueError>("LrSchedule: the learning rate must be finite and >= 0; got {}", peak);
  }
  if (warmup < 0) fail<ValueError>("LrSchedule: warmup must be >= 0 steps; got {}", warmup);
  LrSchedule s;
  s.peak_ = peak;
  s.warmup_ = warmup;
  return s;
}

LrSchedule LrSchedule::cosine(double peak, std::int64_t warmup, std::int64_t total, double last) {
  LrSchedule s = constant(peak, warmup);
  if (total <= warmup) {
    fail<ValueError>("LrSchedule: total must exceed warmup; got total = {}, warmup = {}", total,
                     warmup);
  }
  if (!(last >= 0.0 && last <= peak)) {
    fail<ValueError>("LrSchedule: the last learning rate must be in [0, {}]; got {}", peak, last);
  }
  s.last_ = last;
  s.total_ = total;
  return s;
}

double LrSchedule::operator()(std::int64_t step) const {
  if (step < warmup_) return peak_ * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  if (total_ == 0) return peak_;
  if (step >= total_) return last_;
  const double progress =
      static_cast<double>(step - warmup_) / static_cast<double>(total_ - warmup_);
  return last_ + (peak_ - last_) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

}  // namespace ito::nn
