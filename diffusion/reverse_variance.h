// The variance of a reverse step p(x_s | x_t), which the papers choose in several ways.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/schedule.h"

namespace ito {

/// beta          "fixedlarge", exact for data of unit variance (Ho et al. 2020, section 3.2)
/// beta_tilde    "fixedsmall", exact for a single point
/// learned       between the two, as the network says (Nichol & Dhariwal 2021, eq. 15)
/// analytic      the best one that is the same for all elements (Bao et al. 2022)
enum class ReverseVariance { beta, beta_tilde, learned, analytic };

}  // namespace ito
