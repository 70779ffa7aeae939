// scheduler_config.json of diffusers: the noise schedule of a model, what it predicts, and how it
// wants to be sampled.
//
//   ModelCard card;
//   const std::string text = "{\"_class_name\": \"DDIMScheduler\", \"eta\": 1.0}";
//   for (const std::string& notice : read_diffusers_scheduler(text, "scheduler_config.json", card))
//     fmt::print("{}\n", notice);
//   const std::string back = diffusers_scheduler_config(card);        // as a DDPMScheduler
//
// diffusers has one class for each sampler, and most share DDPM's forward process: betas. Those are
// taken, whatever the class; its sampler is ito's to choose. Classes with another process (flow
// matching, EDM, VE, consistency models, tokens) are refused by name. No key is passed over in
// silence: it is carried into the card, or named in a notice, or refused.
#pragma once

#include <string>
#include <vector>

#include "diffusion/models/model_file.h"

namespace ito {

/// Sets schedule, timesteps, betas, what is predicted and `sampling` of the card. Returns notices
/// for people: keys that ito does not use, and what was assumed. `file` stands in messages. Throws
/// FormatError.
std::vector<std::string> read_diffusers_scheduler(const std::string& text, const std::string& file,
                                                  ModelCard& card);

/// The configuration of a DDPMScheduler with every key that it has. Throws ValueError for a card
/// that it cannot be.
std::string diffusers_scheduler_config(const ModelCard& card);

}  // namespace ito
