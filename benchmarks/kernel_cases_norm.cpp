// Group norm and attention, forward and gradient, every rung of their ladders.
#include <fmt/format.h>

#include "benchmarks/kernel_cases.h"
#include "benchmarks/unet_shapes.h"
#include "cuda/attention.h"
#include "cuda/norm.h"

namespace ito::bench {
namespace {

using kernel::Attention, kernel::AttentionGrad, kernel::GroupNorm, kernel::GroupNormGrad;

GroupNorm::Args norm_args(Buffers& b, const NormShape& s, DType dtype) {
  const std::int64_t n = s.shape.n, positions = s.shape.positions, channels = s.shape.channels;
  GroupNorm::Args a{};
  a.x = b.input({n, positions, channels}, dtype);
  a.weight = b.input({channels}, dtype);
  a.bias = b.input({channels}, dtype);
  a.y = b.output({n, positions, channels}, dtype);
  a.statistics = b.output({n, s.shape.groups, 2}, DType::f32);
  a.shape = s.shape;
  a.eps = 1e-6;
  a.silu = s.silu;
  a.dtype = dtype;
  return a;
}

GroupNormGrad::Args norm_grad_args(Buffers& b, const NormShape& s, DType dtype) {
  const GroupNorm::Args forward = norm_args(b, s, dtype);
  GroupNorm::cuda(forward);
  const std::int64_t n = s.shape.n, positions = s.shape.positions, channels = s.shape.channels;
  GroupNormGrad::Args a{};
  a.x = forward.x;
  a.dy = b.input({n, positions, channels}, dtype);
  a.weight = forward.weight;
  a.bias = forward.bias;
  a.statistics = forward.statistics;
  a.dx = b.output({n, positions, channels}, dtype);
  a.dweight = b.output({channels}, dtype);
  a.dbias = b.output({channels}, dtype);
  a.partial = b.output({n, 2, channels}, DType::f32);
  a.shape = s.shape;
  a.silu = s.silu;
  a.dtype = dtype;
  return a;
}

Attention::Args attention_args(Buffers& b, const kernel::AttentionShape& s, DType dtype) {
  const Shape queries{s.n, s.l, s.heads * s.d}, keys{s.n, s.s, s.heads * s.d};
  Attention::Args a{};
  a.q = b.input(queries, dtype);
  a.k = b.input(keys, dtype);
  a.v = b.input(keys, dtype);
  a.y = b.output(queries, dtype);
  a.lse = b.output({s.n, s.heads, s.l}, DType::f32);
  a.shape = s;
  a.dtype = dtype;
  return a;
}

AttentionGrad::Args attention_grad_args(Buffers& b, const kernel::AttentionShape& s, DType dtype) {
  const Attention::Args forward = attention_args(b, s, dtype);
  Attention::cuda(forward);
  const Shape queries{s.n, s.l, s.heads * s.d}, keys{s.n, s.s, s.heads * s.d};
  AttentionGrad::Args a{};
  a.q = forward.q;
  a.k = forward.k;
  a.v = forward.v;
  a.y = forward.y;
  a.lse = forward.lse;
  a.dy = b.input(queries, dtype);
  a.dq = b.output(queries, dtype);
  a.dk = b.output(keys, dtype);
  a.dv = b.output(keys, dtype);
  a.shape = s;
  a.dtype = dtype;
  return a;
}

template <class Args>
void add(std::vector<KernelCase>& cases, KernelCase base, const std::string& rung,
         std::function<Args(Buffers&)> make, std::function<void(const Args&)> run,
         std::function<bool(const Args&)> takes = nullptr) {
  base.rung = rung;
  base.prepare = rotating<Args>(make, run, takes);
  cases.push_back(std::move(base));
}

template <class Args>
void add_norm_ladder(std::vector<KernelCase>& cases, const KernelCase& base, bool ladder,
                     std::function<Args(Buffers&)> make, void (*best)(const Args&)) {
  namespace rungs = cuda::norm;
  using CanUse = std::function<bool(const Args&)>;
  add<Args>(cases, base, "best", make, best);
  if (!ladder) return;
  add<Args>(cases, base, "naive", make, [](const Args& a) { rungs::naive(a); });
  add<Args>(
      cases, base, "streaming", make, [](const Args& a) { rungs::streaming(a); },
      CanUse([](const Args& a) { return rungs::can_use_streaming(a); }));
  add<Args>(
      cases, base, "slab", make, [](const Args& a) { rungs::slab(a); },
      CanUse([](const Args& a) { return rungs::can_use_slab(a); }));
}

template <class Args>
void add_attention_ladder(std::vector<KernelCase>& cases, const KernelCase& base,
                          std::function<Args(Buffers&)> make, void (*best)(const Args&)) {
  namespace rungs = cuda::attention;
  using CanUse = std::function<bool(const Args&)>;
  add<Args>(cases, base, "best", make, best);
  add<Args>(cases, base, "naive", make, [](const Args& a) { rungs::naive(a); });
  add<Args>(
      cases, base, "tiled", make, [](const Args& a) { rungs::tiled(a); },
      CanUse([](const Args& a) { return rungs::can_use_tiled(a); }));
  if (base.dtype == DType::bf16) {
    add<Args>(
        cases, base, "tensor_core", make, [](const Args& a) { rungs::tensor_core(a); },
        CanUse([](const Args& a) { return rungs::can_use_tensor_core(a); }));
  }
}

}  // namespace

void add_norm_cases(std::vector<KernelCase>& cases, const std::string& preset,
                    const UNetShapes& shapes, const Selection& selection) {
  const auto work = [](const Counted<NormShape>& norm) {
    return norm.count * double(norm.shape.shape.positions * norm.shape.shape.channels);
  };
  double total = 0.0;
  for (const Counted<NormShape>& norm : shapes.norms) total += work(norm);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    for (const Counted<NormShape>& norm : shapes.norms) {
      const NormShape& s = norm.shape;
      const bool ladder = selection.smoke || work(norm) > 0.08 * total;
      const double bytes = static_cast<double>(size_of(dtype)) * double(s.shape.n) *
                           double(s.shape.positions * s.shape.channels);
      const std::string shape =
          fmt::format("{} {} positions {} channels{}", preset, s.shape.positions, s.shape.channels,
                      s.silu ? " silu" : "");
      add_norm_ladder<GroupNorm::Args>(
          cases, {"group_norm", "", dtype, shape, 0.0, 2 * bytes, norm.count, nullptr}, ladder,
          [s, dtype](Buffers& b) { return norm_args(b, s, dtype); }, GroupNorm::cuda);
      add_norm_ladder<GroupNormGrad::Args>(
          cases, {"group_norm_grad", "", dtype, shape, 0.0, 3 * bytes, norm.count, nullptr}, ladder,
          [s, dtype](Buffers& b) { return norm_grad_args(b, s, dtype); }, GroupNormGrad::cuda);
    }
  }
}

void add_attention_cases(std::vector<KernelCase>& cases, const std::string& preset,
                         const UNetShapes& shapes) {
  for (const DType dtype : {DType::bf16, DType::f32}) {
    for (const Counted<kernel::AttentionShape>& attention : shapes.attentions) {
      const kernel::AttentionShape& s = attention.shape;
      const double width = static_cast<double>(s.n * s.heads * s.d);
      const double product = 2.0 * width * double(s.l) * double(s.s);
      const double bytes = static_cast<double>(size_of(dtype)) * width;
      const std::string shape =
          fmt::format("{} {} tokens {} heads of {}", preset, s.l, s.heads, s.d);
      // Two products forward; five backward, one of which repeats the scores.
      add_attention_ladder<Attention::Args>(
          cases,
          {"attention", "", dtype, shape, 2 * product, bytes * double(2 * s.l + 2 * s.s),
           attention.count, nullptr},
          [s, dtype](Buffers& b) { return attention_args(b, s, dtype); }, Attention::cuda);
      add_attention_ladder<AttentionGrad::Args>(
          cases,
          {"attention_grad", "", dtype, shape, 5 * product, bytes * double(4 * s.l + 4 * s.s),
           attention.count, nullptr},
          [s, dtype](Buffers& b) { return attention_grad_args(b, s, dtype); }, AttentionGrad::cuda);
    }
  }
}

}  // namespace ito::bench
