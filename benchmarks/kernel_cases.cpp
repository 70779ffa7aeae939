#include "benchmarks/kernel_cases.h"

#include "autograd/ops/layout.h"
#include "benchmarks/unet_shapes.h"

namespace ito::bench {

std::string KernelCase::name() const {
  return kernel + "/" + rung + "/" + name_of(dtype) + "/" + shape;
}

void* Buffers::keep(const Shape& shape, DType dtype, bool random) {
  // Never zeros: products of zeros run faster, and hide what was not written.
  Tensor t = random ? cast(randn(rng_, shape, DType::f32, Device::cuda()), dtype)
                    : Tensor::empty(shape, dtype, Device::cuda());
  return tensors_.emplace_back(t).mutable_raw();
}

const void* Buffers::integers(const Shape& shape, std::int64_t low, std::int64_t high,
                              DType dtype) {
  const Tensor t = cast(randint(rng_, low, high, shape, Device::cuda()), dtype);
  return tensors_.emplace_back(t).raw();
}

const void* Buffers::doubles(const std::vector<double>& values) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  return tensors_.emplace_back(Tensor::from(values, shape).to(Device::cuda())).raw();
}

void* Buffers::zeros(const Shape& shape, DType dtype) {
  return tensors_.emplace_back(Tensor::zeros(shape, dtype, Device::cuda())).mutable_raw();
}

std::vector<KernelCase> kernel_cases(const Selection& selection) {
  struct Preset {
    std::string name;
    UNetConfig config;
    std::int64_t batch;
  };
  std::vector<Preset> presets;
  if (selection.smoke) {
    UNetConfig tiny = UNetConfig::mnist();
    tiny.image_size = 4;
    tiny.base_channels = 8;
    tiny.channel_multipliers = {1, 2};
    tiny.blocks_per_level = 1;
    tiny.attention_resolutions = {2};
    tiny.norm_groups = 4;
    presets = {{"tiny", tiny, 2}};
  } else {
    presets = {{"cifar10", UNetConfig::cifar10(), 128}, {"mnist", UNetConfig::mnist(), 128}};
  }
  std::vector<KernelCase> cases;
  for (const Preset& preset : presets) {
    const UNetShapes shapes = unet_shapes(preset.config, preset.batch);
    add_conv_cases(cases, preset.name, shapes, selection);
    add_norm_cases(cases, preset.name, shapes, selection);
    add_attention_cases(cases, preset.name, shapes);
  }
  add_memory_cases(cases, selection);
  return cases;
}

}  // namespace ito::bench
