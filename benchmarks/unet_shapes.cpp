#include "benchmarks/unet_shapes.h"

#include <cmath>
#include <tuple>

namespace ito::bench {
namespace {

auto key(const kernel::ConvShape& s) {
  return std::tuple(s.h, s.w, s.in, s.p, s.q, s.out, s.kh, s.kw, s.stride, s.top, s.left);
}
auto key(const NormShape& s) { return std::tuple(s.shape.positions, s.shape.channels, s.silu); }
auto key(const kernel::AttentionShape& s) { return std::tuple(s.l, s.s, s.heads, s.d); }
auto key(const LinearShape& s) { return std::tuple(s.m, s.n, s.k); }

template <class Shape>
void add(std::vector<Counted<Shape>>& list, const Shape& shape, int count = 1) {
  for (Counted<Shape>& entry : list) {
    if (key(entry.shape) == key(shape)) {
      entry.count += count;
      return;
    }
  }
  list.push_back({shape, count});
}

struct Walk {
  const UNetConfig& config;
  std::int64_t batch;
  UNetShapes shapes;
  std::int64_t size, channels;  // of the image at this point

  void conv(std::int64_t out, std::int64_t kernel) {
    add(shapes.convs, {.n = batch,
                       .h = size,
                       .w = size,
                       .in = channels,
                       .p = size,
                       .q = size,
                       .out = out,
                       .kh = kernel,
                       .kw = kernel,
                       .stride = 1,
                       .top = kernel / 2,
                       .left = kernel / 2});
    channels = out;
  }
  void downsample() {
    add(shapes.convs, {.n = batch,
                       .h = size,
                       .w = size,
                       .in = channels,
                       .p = size / 2,
                       .q = size / 2,
                       .out = channels,
                       .kh = 3,
                       .kw = 3,
                       .stride = 2,
                       .top = 0,
                       .left = 0});
    size /= 2;
  }
  // Nearest upsampling and a 3x3 convolution are the transpose of a 4x4 convolution at stride 2
  // (autograd/ops/conv_upsample.h): of that the shape, so the way up is its input gradient.
  void upsample() {
    add(shapes.convs, {.n = batch,
                       .h = 2 * size,
                       .w = 2 * size,
                       .in = channels,
                       .p = size,
                       .q = size,
                       .out = channels,
                       .kh = 4,
                       .kw = 4,
                       .stride = 2,
                       .top = 1,
                       .left = 1});
    size *= 2;
  }
  void norm(bool silu) {
    add(shapes.norms, NormShape{{.n = batch,
                                 .positions = size * size,
                                 .channels = channels,
                                 .groups = config.norm_groups},
                                silu});
  }
  void attention() {
    const std::int64_t tokens = size * size, d = channels / config.heads;
    norm(false);
    add(shapes.linears, LinearShape{batch * tokens, channels, channels}, 4);  // q, k, v and out
    add(shapes.attentions, {.n = batch,
                            .l = tokens,
                            .s = tokens,
                            .heads = config.heads,
                            .d = d,
                            .scale = 1.0 / std::sqrt(static_cast<double>(d)),
                            .mask_per_sample = false});
  }
  void block(std::int64_t in, std::int64_t out, bool with_attention) {
    channels = in;
    norm(true);
    conv(out, 3);
    norm(true);
    conv(out, 3);
    if (in != out) {
      channels = in;
      conv(out, 1);
    }
    if (with_attention) attention();
  }
};

}  // namespace

UNetShapes unet_shapes(const UNetConfig& c, std::int64_t batch) {
  Walk walk{c, batch, {}, c.image_size, c.in_channels};
  walk.conv(c.base_channels, 3);
  std::vector<std::int64_t> skips = {walk.channels};
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    for (std::int64_t j = 0; j < c.blocks_per_level; ++j) {
      walk.block(walk.channels, c.channels(i), c.has_attention(i));
      skips.push_back(walk.channels);
    }
    if (i + 1 < c.levels()) {
      walk.downsample();
      skips.push_back(walk.channels);
    }
  }
  walk.block(walk.channels, walk.channels, true);
  walk.block(walk.channels, walk.channels, false);
  for (std::int64_t i = c.levels() - 1; i >= 0; --i) {
    for (std::int64_t j = 0; j < c.blocks_per_level + 1; ++j) {
      walk.block(walk.channels + skips.back(), c.channels(i), c.has_attention(i));
      skips.pop_back();
    }
    if (i > 0) walk.upsample();
  }
  walk.norm(true);
  walk.conv(c.out_channels, 3);
  return walk.shapes;
}

}  // namespace ito::bench
