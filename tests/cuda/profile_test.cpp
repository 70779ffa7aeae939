// Profiles of the device: times come from its queue, and only from launches.
#include "tensor/profile.h"

#include <doctest/doctest.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/linalg.h"
#include "tensor/cuda_graph.h"
#include "tensor/profile_report.h"
#include "tests/devices.h"

using namespace ito;

namespace {

Tensor work(const Tensor& a) {
  const profile::Scope scope("layer");
  return matmul(a, a) + a;
}

}  // namespace

TEST_CASE("profile: launches on the device are timed in its queue, one after the other") {
  if (!testing::device_answers()) return;
  const Tensor a = Tensor::full({64, 64}, 0.01, DType::f32, Device::cuda());
  profile::Profile profile;
  Tensor y;
  {
    const profile::Profiling on(profile);
    for (int i = 0; i < 3; ++i) y = work(a);
    y.to(Device::cpu());  // waits
  }
  std::int64_t last = 0;
  int launches = 0;
  for (const profile::Span& span : profile.spans()) {
    CHECK(span.on_device == span.kernel);
    if (!span.kernel) continue;
    CHECK(span.begin_ns >= last);
    CHECK(span.end_ns > span.begin_ns);
    last = span.end_ns;
    ++launches;
  }
  CHECK(launches == 6);
  const double seconds = profile::all_kernels(profile).seconds;
  CHECK(seconds > 0.0);
  CHECK(seconds < profile.seconds());
  CHECK(profile::by_layer(profile).at(0).layer == "layer");
}

TEST_CASE("profile: a graph is seen when it runs as work, not while it is recorded or replayed") {
  if (!testing::device_answers()) return;
  const Tensor a = Tensor::full({8, 8}, 0.01, DType::f32, Device::cuda());
  Tensor y;
  for (const bool recorded : {true, false}) {
    CudaGraph graph(
        a.device(), [&] { y = work(a); }, recorded);
    profile::Profile profile;
    {
      const profile::Profiling on(profile);
      for (int i = 0; i < 4; ++i) graph.run();
    }
    CHECK(profile::all_kernels(profile).launches == (recorded ? 2 : 8));
  }
}
