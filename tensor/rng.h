// Random numbers without hidden state: a draw is a pure function of
//   key     = (seed, purpose)
//   counter = (step, draw, sample, element).
// `sample` is the index along the first axis counted from `first_sample`, so a batch of 8 equals
// two batches of 4 and results do not depend on threads, batch splits or ranks. To resume, seek the
// step.
//
//   Rng rng(42, Purpose::noise);
//   rng.seek(step, /*first_sample=*/0);
//   Tensor eps = randn(rng, {64, 28, 28, 1});   // draw 0 of this step
//   Tensor u   = rand(rng, {64});               // draw 1 of this step
//
// In a recorded graph (tensor/cuda_graph.h) numbers in host code are frozen, so the step must live
// in the memory of the device:
//
//   Tensor step = Tensor::zeros({1}, DType::i64, device);
//   rng.bind(step);
//   CudaGraph work(device, [&] { rng.seek(0); x = randn(rng, {64}, DType::f32, device); });
//   for (int i = 0; i < 1000; ++i) {
//     step.fill(i);
//     work.run();                               // the numbers of step i
//   }
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/philox.h"
#include "tensor/tensor.h"

namespace ito {

/// What a stream of numbers is for. Streams of one seed are independent. Values are part of the
/// file format (a resumed run must draw the same numbers): add at the end, never change.
enum class Purpose : std::uint32_t {
  init = 0,      ///< initial parameters
  noise = 1,     ///< epsilon of the forward process
  timestep = 2,  ///< t of the loss
  dropout = 3,
  shuffle = 4,  ///< order of the training set
  augment = 5,  ///< flips and crops
  sample = 6,   ///< x_T and z of the samplers
  data = 7,     ///< synthetic data sets
  test = 8,
  condition = 9,  ///< which labels are forgotten in training
  codec = 10,     ///< what sender and receiver of compressed images draw alike
};

class Rng {
 public:
  explicit Rng(std::uint64_t seed, Purpose purpose = Purpose::sample);

  /// Continues at draw 0 of `step`; row i of what is drawn is sample `first_sample + i`. With a
  /// bound step only the draw and the sample are set.
  void seek(std::uint64_t step, std::uint64_t first_sample = 0);
  std::uint64_t seed() const { return seed_; }
  std::uint64_t step() const { return step_; }
  std::uint64_t first_sample() const { return first_sample_; }

  /// From now on the step is the element of `step`, i64 [1] on the device of the draws, read when
  /// the numbers are made. An undefined tensor unbinds. Throws DTypeError, ShapeError.
  void bind(Tensor step);
  const Tensor& bound_step() const { return bound_; }

  PhiloxKey key() const { return key_; }
  /// Takes the next draw number of this step.
  std::uint32_t next_draw() { return draw_++; }

 private:
  std::uint64_t seed_;
  PhiloxKey key_;
  std::uint64_t step_ = 0;
  std::uint64_t first_sample_ = 0;
  std::uint32_t draw_ = 0;
  Tensor bound_;
};

/// Standard normal numbers, f32 or f64 (Box-Muller on 32- or 53-bit uniforms), or bf16: those of
/// f32 rounded. Every device gives the same bits. Throws DeviceError when the bound step is
/// elsewhere.
Tensor randn(Rng& rng, const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
/// Uniform in [0, 1), f32 (24 bits) or f64 (53 bits), or bf16: f32 rounded, which may reach 1.
Tensor rand(Rng& rng, const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
/// Uniform integers in [low, high), i64. Throws ValueError when the range is empty.
Tensor randint(Rng& rng, std::int64_t low, std::int64_t high, const Shape& shape,
               Device device = Device::cpu());
/// A random order of 0 .. n-1 (Fisher-Yates), made on the host; a bound step is read back.
std::vector<std::int64_t> permutation(Rng& rng, std::int64_t n);

}  // namespace ito
