// What bench_kernels measures: every kernel on the shapes of the presets, and every rung of the
// ladders (cuda/conv.h, norm.h, attention.h) on the shapes that matter most.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito::bench {

/// Runs the kernel once, on the i-th set of inputs (sets repeat).
using Call = std::function<void(int i)>;

struct KernelCase {
  std::string kernel;  ///< "conv2d"
  std::string rung;    ///< "best" (what the library uses), "naive", ..., "cublas"
  DType dtype;
  std::string shape;    ///< "cifar10 32x32 3x3 128>128"
  double flops, bytes;  ///< what any implementation must compute, and read and write once
  int per_step;         ///< how often a training step runs it; 0: not counted
  /// Makes `sets` sets of random inputs; empty when the rung cannot take the shape.
  std::function<Call(int sets)> prepare;

  std::string name() const;  ///< kernel/rung/dtype/shape
};

struct Selection {
  bool smoke = false;  ///< tiny shapes: only to see that everything runs
  bool sweep = false;  ///< also every way to cut the convolutions' matrix products
};
std::vector<KernelCase> kernel_cases(const Selection& selection);

/// Tensors of one case, on the device.
class Buffers {
 public:
  const void* input(const Shape& shape, DType dtype) { return keep(shape, dtype, true); }
  void* output(const Shape& shape, DType dtype) { return keep(shape, dtype, false); }
  /// Random integers in [low, high): i64 or u8.
  const void* integers(const Shape& shape, std::int64_t low, std::int64_t high, DType dtype);
  const void* doubles(const std::vector<double>& values);
  /// For what a kernel reads and writes: random numbers, or zeros.
  void* state(const Shape& shape, DType dtype) { return keep(shape, dtype, true); }
  void* zeros(const Shape& shape, DType dtype);

 private:
  void* keep(const Shape& shape, DType dtype, bool random);
  Rng rng_{1, Purpose::test};
  std::vector<Tensor> tensors_;
};

/// prepare() of a kernel with arguments Args: `make(Buffers&)` gives them for one set of inputs,
/// `takes(args)` says whether the rung can, `run(args)` runs it.
template <class Args>
std::function<Call(int)> rotating(std::function<Args(Buffers&)> make,
                                  std::function<void(const Args&)> run,
                                  std::function<bool(const Args&)> takes = nullptr) {
  return [make, run, takes](int sets) -> Call {
    auto buffers = std::make_shared<Buffers>();
    std::vector<Args> list;
    for (int i = 0; i < sets; ++i) list.push_back(make(*buffers));
    if (takes && !takes(list[0])) return nullptr;
    return [buffers, list, run](int i) { run(list[static_cast<std::size_t>(i) % list.size()]); };
  };
}

/// The parts that kernel_cases() puts together. `preset` names the network; `shapes` those of a
/// step.
struct UNetShapes;
void add_conv_cases(std::vector<KernelCase>& cases, const std::string& preset,
                    const UNetShapes& shapes, const Selection& selection);
void add_norm_cases(std::vector<KernelCase>& cases, const std::string& preset,
                    const UNetShapes& shapes, const Selection& selection);
void add_attention_cases(std::vector<KernelCase>& cases, const std::string& preset,
                         const UNetShapes& shapes);
/// Optimiser, element-wise functions, copies, random numbers, batches of images.
void add_memory_cases(std::vector<KernelCase>& cases, const Selection& selection);

}  // namespace ito::bench
