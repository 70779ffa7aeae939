// Conditioning and guidance: from a network that knows class labels, or a classifier beside one that
// does not, to a Denoiser for one batch of labels, which every sampler takes.
//
//   const Denoiser model = guided(network, labels, null_label, 3.0);           // no classifier
//   const Denoiser model = shifted(process, network, classifier_shift(classifier, labels, 3.0));
//   const Tensor x0 = sample_ddim(process, model, x_T, rng, {.limit_x0 = clip_x0});
//
// Both move the score of x_t towards more of grad log p(label | x_t); with exact networks they are
// one: score(x_t) + gamma grad log p(label | x_t) for the same gamma. The labels are i64 [N] on the
// device of x_t, one for each sample of the batch. Networks may predict eps, x0 or v.
#pragma once

#include <cstdint>
#include <functional>

#include "diffusion/denoiser/gaussian_diffusion.h"
#include "tensor/tensor.h"

namespace ito {

/// A class-conditional network: as a Denoiser, with labels i64 [N] in [0, number of classes]. The
/// value number of classes is the null class, "any": what dropped labels are trained as.
using LabelledDenoiser =
    std::function<Tensor(const Tensor& x_t, const Tensor& t, const Tensor& labels)>;

/// The network asked for `labels`. Throws ShapeError when x_t has another number of samples.
Denoiser conditional(LabelledDenoiser model, Tensor labels);

/// Classifier-free guidance of two predictions: (1 - gamma) unconditional + gamma conditional, with
/// gamma 0 the unconditional, 1 the conditional one, above 1 guidance proper. Ho & Salimans 2022
/// (arXiv 2207.12598, eq. 6) write (1 + w) conditional - w unconditional: gamma = 1 + w.
Tensor guide(const Tensor& unconditional, const Tensor& conditional, double gamma);

/// How often the guided network is asked: once with a batch of 2 N, or twice with N (half the
/// memory).
enum class GuidancePasses { one, two };

/// guide() of the network asked for `labels` and for `null_label`. At gamma 0 and 1 only the one
/// that counts is asked. What the network learnt of the reverse step's variance is the conditional
/// one's. Throws ShapeError when x_t has another number of samples than labels.
Denoiser guided(LabelledDenoiser model, Tensor labels, std::int64_t null_label, double gamma,
                GuidancePasses passes = GuidancePasses::one);

/// What is added to the score of x_t, in the shape of x_t.
using ScoreShift = std::function<Tensor(const Tensor& x_t, const Tensor& t)>;

/// (x_t, t) to logits [N, classes] of p(label | x_t): a Classifier trained on noisy images is one.
using NoisyClassifier = std::function<Tensor(const Tensor& x_t, const Tensor& t)>;

/// Classifier guidance (Dhariwal & Nichol 2021, arXiv 2105.05233, section 4): scale times the
/// gradient of log p(label | x_t) with respect to x_t.
ScoreShift classifier_shift(NoisyClassifier classifier, Tensor labels, double scale);

/// The network whose score is that of `model` plus the shift: eps - sigma_t shift (their Algorithm
/// 2), the same in x0 or v. For every sampler; DDPM may instead shift the mean of each step by the
/// variance times `shift` (their Algorithm 1): DdpmOptions::shift_mean. For x0 and v alpha_bar_t
/// must not be 0.
Denoiser shifted(GaussianDiffusion process, Denoiser model, ScoreShift shift);

}  // namespace ito
