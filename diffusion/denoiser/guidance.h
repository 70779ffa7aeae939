// Guidance: moves a denoiser towards a condition, by a network that knows the condition or by a
// classifier beside one that does not. Every sampler takes the result.
//
//   const std::int64_t any = 10;      // the null class of a network of 10 classes
//   const Network guided = classifier_free_guidance(std::cref(unet), same_label(7, 64),
//                                                   same_label(any, 64), 3.0);
//   const Denoiser without_classifier = parametrization.denoiser(guided);
//   const ScoreShift shift = classifier_guidance(std::cref(classifier), labels, 3.0);
//   const Denoiser with_classifier = shifted(parametrization.denoiser(network), shift);
//
// Both move the score of x towards more of grad log p(condition | x); with exact networks they are
// one: score(x) + scale grad log p(condition | x) for the same scale. Networks may predict
// anything.
#pragma once

#include <cstdint>
#include <functional>

#include "diffusion/denoiser/condition.h"
#include "diffusion/denoiser/parametrization.h"
#include "tensor/tensor.h"

namespace ito {

/// Classifier-free guidance of two predictions: (1 - scale) unconditional + scale conditional, with
/// scale 0 the unconditional, 1 the conditional one, above 1 guidance proper. Ho & Salimans 2022
/// (arXiv 2207.12598, eq. 6) write (1 + w) conditional - w unconditional: scale = 1 + w.
Tensor classifier_free_guidance(const Tensor& unconditional, const Tensor& conditional,
                                double scale);

/// Whether guidance evaluates one batch of 2 N or two of N (half the memory).
enum class GuidancePasses { one, two };

/// classifier_free_guidance() of the network's outputs for `condition` and for `null`. At scale 0
/// and 1 only the one that counts is evaluated. The variance that a network has learned is taken
/// from the conditional output. Throws ShapeError when x has another number of samples than a
/// condition.
Network classifier_free_guidance(ConditionalNetwork network, Condition condition, Condition null,
                                 double scale, GuidancePasses passes = GuidancePasses::one);

/// The condition that asks n samples for the same label: i64 [n].
Condition same_label(std::int64_t label, std::int64_t n, Device device = Device::cpu());

/// What is added to the score of x, in the shape of x.
using ScoreShift = std::function<Tensor(const Tensor& x, const Levels& levels)>;

/// (x, time) to logits [N, classes] of p(label | x): a Classifier trained on noisy images is one.
using NoisyClassifier = std::function<Tensor(const Tensor& x, const Tensor& time)>;

/// Classifier guidance (Dhariwal & Nichol 2021, arXiv 2105.05233, section 4): scale times the
/// gradient of log p(label | x) with respect to x. Labels are i64 [N].
ScoreShift classifier_guidance(NoisyClassifier classifier, Tensor labels, double scale);

/// The denoiser whose score is that of `model` plus the shift: eps - sigma shift (their Algorithm
/// 2). For every sampler; DDPM may instead shift the mean of each step by the variance times
/// `shift` (their Algorithm 1): DdpmOptions::shift_mean. Where alpha is 0 the estimate of x0 is not
/// finite.
Denoiser shifted(Denoiser model, ScoreShift shift);

}  // namespace ito
