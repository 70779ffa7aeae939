// Which noise levels a sampler passes through.
//
//   const std::vector<Level> levels = sampling_levels(schedule, 50, Spacing::even);
//   sample_ddim(model, x_T, levels, rng);
//   visited_timesteps(1000, 5, Spacing::even);        // 0, 250, 500, 749, 999
//   visited_timesteps(1000, 5, Spacing::quadratic);   // 0, 50, 200, 450, 800
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/process/path.h"
#include "diffusion/process/schedule.h"
#include "tensor/enum_names.h"

namespace ito {

/// even        equal steps of time; in a schedule, timesteps from 0 to T - 1 ("linspace" of others)
/// leading     multiples of the whole part of T / steps, from 0, and an offset; in a schedule
/// trailing    T - 1 - i T / steps, rounded: from T - 1, without 0; in a schedule (Lin et al. 2023,
///             arXiv 2305.08891, table 2)
/// quadratic   timesteps i^2, from 0 to 0.8 T (Song et al. 2020, arXiv 2010.02502, appendix D.2): a
///             sampler starts there, with its x_T. On a path: the square root of time in equal
///             steps
/// karras      sigma^(1/7) in equal steps (Karras et al. 2022, arXiv 2206.00364, eq. 5)
/// log_snr     log sigma in equal steps (Lu et al. 2022, arXiv 2206.00927, section 3.3)
///
/// with sigma = sigma / alpha in the last two. In a schedule these go over the levels of Karras et
/// al., 0.002 to 80, as far as it has them (over all of its own where it has none of these): beyond
/// 80, where the cosine schedule goes on to 2e4, there is nothing to see of an image. They are met
/// exactly, between timesteps (NoiseSchedule::level_at).
enum class Spacing { even, leading, trailing, quadratic, karras, log_snr };
constexpr EnumNames<Spacing, 6> enum_names(Spacing) {
  return {"spacing",
          {{Spacing::even, "even"},
           {Spacing::leading, "leading"},
           {Spacing::trailing, "trailing"},
           {Spacing::quadratic, "quadratic"},
           {Spacing::karras, "karras"},
           {Spacing::log_snr, "log-snr"}}};
}

/// The levels of a sampler of `steps` steps: from the noisiest down, then the clean images. For one
/// step: the noisiest. `offset` is added to the timesteps of leading spacing. Throws ValueError
/// unless 1 <= steps <= T.
std::vector<Level> sampling_levels(const NoiseSchedule& schedule, std::int64_t steps,
                                   Spacing spacing, std::int64_t offset = 0);
/// The same from max_time to min_time of a path, and then the clean images. Throws ValueError
/// unless steps >= 1, and for leading and trailing, which a path has not.
std::vector<Level> sampling_levels(const Path& path, std::int64_t steps, Spacing spacing);
/// The levels of `visited` timesteps, which rise: from the noisiest down, then the clean images.
std::vector<Level> sampling_levels(const NoiseSchedule& schedule,
                                   const std::vector<std::int64_t>& visited);

/// `steps` of `timesteps`, not karras or log_snr, rising, each once: those wanted, rounded to the
/// nearest (quadratic: down), and moved on where two would be one. steps = timesteps gives all; one
/// step goes from the highest, but for leading. Throws ValueError unless 1 <= steps <= timesteps,
/// for an offset that leads beyond them, and for the other spacings.
std::vector<std::int64_t> visited_timesteps(std::int64_t timesteps, std::int64_t steps,
                                            Spacing spacing = Spacing::even,
                                            std::int64_t offset = 0);

}  // namespace ito
