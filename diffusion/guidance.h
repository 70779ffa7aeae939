// Conditioning and guidance: from a network that knows class labels to a Denoiser for one batch of
// labels, which every sampler takes.
//
//   const Denoiser model = guided(network, labels, null_label, 3.0);
//   const Tensor x0 = sample_ddim(process, model, x_T, rng, {.limit_x0 = clip_x0});
#pragma once

#include <cstdint>
#include <functional>

#include "diffusion/gaussian_diffusion.h"
#include "tensor/tensor.h"

namespace ito {

/// A class-conditional network: as a Denoiser, with labels i64 [N] in [0, number of classes]. The
/// value number of classes is the null class, "any": what dropped labels are trained as.
using LabelledDenoiser =
    std::function<Tensor(const Tensor& x_t, const Tensor& t, const Tensor& labels)>;

/// The network asked for `labels`, i64 [N] on the device of x_t.
Denoiser conditional(LabelledDenoiser model, Tensor labels);

}  // namespace ito
