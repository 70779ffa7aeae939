// Weights over time for the training loss: mean of weight(t) times the squared error of what the
// network predicts.
//
//   const Tensor weights =
//       loss_weights(schedule, parametrization, LossWeight::min_snr, DType::f32, device);
//   const Tensor output = parametrization.call(network, x_t, levels);
//   backward(mean(gather(weights, t) * parametrization.losses(output, x0, eps, levels)));
#pragma once

#include <string>
#include <vector>

#include "diffusion/denoiser/parametrization.h"
#include "diffusion/process/schedule.h"
#include "tensor/enum_names.h"

namespace ito {

/// simple          1, whatever is predicted: L_simple (Ho et al. 2020, eq. 14)
/// vlb_beta        the bound's own weight with variance beta (Ho et al. 2020, eq. 12)
/// vlb_beta_tilde  and with beta_tilde; that of t = 1 at t = 0
/// snr             SNR(t) on the error of x0: 1 on that of eps
/// min_snr         min(SNR(t), 5) on the error of x0 (Hang et al. 2023, arXiv 2303.09556)
/// likelihood      beta / (2 (1 - alpha_bar)) on the error of eps, what the bound's weight tends to
///                 for many small steps (Song et al. 2021, arXiv 2101.09258)
enum class LossWeight { simple, vlb_beta, vlb_beta_tilde, snr, min_snr, likelihood };
constexpr EnumNames<LossWeight, 6> enum_names(LossWeight) {
  return {"loss weight",
          {{LossWeight::simple, "simple"},
           {LossWeight::vlb_beta, "vlb-beta"},
           {LossWeight::vlb_beta_tilde, "vlb-beta-tilde"},
           {LossWeight::snr, "snr"},
           {LossWeight::min_snr, "min-snr"},
           {LossWeight::likelihood, "likelihood"}}};
}

/// The weight at every timestep, [T], for the error of what is predicted. All but `simple`
/// weigh the same error of x0 whatever the prediction is. Throws ValueError where a weight is not
/// finite: eps is predicted at a timestep that has no signal left.
std::vector<double> loss_weights(const NoiseSchedule& schedule,
                                 const Parametrization& parametrization, LossWeight weight);
/// The same as a tensor to look up in.
Tensor loss_weights(const NoiseSchedule& schedule, const Parametrization& parametrization,
                    LossWeight weight, DType dtype, Device device);

}  // namespace ito
