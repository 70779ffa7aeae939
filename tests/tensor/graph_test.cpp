#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "autograd/ops/elementwise.h"
#include "tensor/cuda_graph.h"
#include "tensor/error.h"
#include "tensor/memory.h"
#include "tensor/rng.h"
#include "tests/devices.h"

using namespace ito;
using testing::device_answers;
using testing::devices;

namespace {

Tensor on(Device device, const std::vector<float>& values) {
  return Tensor::from(values, Shape{static_cast<std::int64_t>(values.size())}).to(device);
}

using Values = std::vector<float>;
float as_float(int value) { return static_cast<float>(value); }

}  // namespace

TEST_CASE(
    "CudaGraph: the first, second and later runs give the same, and see what changes in place") {
  for (const Device device : devices()) {
    Tensor x = on(device, {1, 2, 3}), y;
    int calls = 0;
    CudaGraph graph(device, [&] {
      ++calls;
      const Tensor a = x * x, b = a + x;
      y = b * 2.0;
    });
    CHECK_FALSE(capturing());
    for (int run = 1; run <= 4; ++run) {
      graph.run();
      CHECK(y.to_vector<float>() == Values{4, 12, 24});
    }
    CHECK(calls == (device.is_cpu() ? 4 : 2));
    x.fill(10.0);
    graph.run();
    CHECK(y.to_vector<float>() == Values(3, 220));
    x.assign(on(device, {0, 1, -1}));
    graph.run();
    CHECK(y.to_vector<float>() == Values{0, 4, 0});
  }
}

TEST_CASE("CudaGraph: state that the work changes goes on from run to run") {
  for (const Device device : devices()) {
    Tensor sum = Tensor::zeros({2}, DType::f32, device), x = on(device, {1, 2});
    CudaGraph graph(device, [&] { sum.assign(sum + x); });
    for (int run = 1; run <= 5; ++run) {
      graph.run();
      CHECK(sum.to_vector<float>() == Values{as_float(run), as_float(2 * run)});
    }
  }
}

TEST_CASE("CudaGraph: not enabled, it calls the work each time") {
  for (const Device device : devices()) {
    double value = 0.0;
    Tensor y = Tensor::zeros({2}, DType::f32, device);
    CudaGraph graph(
        device, [&] { y.fill(value); }, false);
    for (int run = 1; run <= 4; ++run) {
      value = run;
      graph.run();
      CHECK(y.to_vector<float>() == Values(2, as_float(run)));
      CHECK(y.view({1}).item() == run);
    }
  }
}

TEST_CASE("CudaGraph: on the device numbers of the host are frozen when it is recorded") {
  if (!device_answers()) return;
  double value = 0.0;
  bool recorded = false;
  Tensor y = Tensor::zeros({2}, DType::f32, Device::cuda());
  CudaGraph graph(Device::cuda(), [&] {
    recorded = capturing();
    y.fill(value);
  });
  for (int run = 1; run <= 4; ++run) {
    value = run;
    graph.run();
    CHECK(y.to_vector<float>() == Values(2, run == 1 ? 1.0f : 2.0f));
    CHECK(recorded == (run > 1));
    CHECK_FALSE(capturing());
  }
}

TEST_CASE("CudaGraph: copies from the host become part of the recording, within a limit") {
  if (!device_answers()) return;
  const Device device = Device::cuda();
  Tensor y = Tensor::zeros({3}, DType::f32, device);
  CudaGraph graph(device, [&] {
    Values values{1, 2, 3};
    y.assign(Tensor::from(values, {3}));
    values.assign(3, NAN);  // the recording has its own
  });
  for (int run = 1; run <= 3; ++run) {
    y.fill(0.0);
    graph.run();
    CHECK(y.to_vector<float>() == Values{1, 2, 3});
  }
  const Tensor large = Tensor::zeros({16385});
  Tensor z = Tensor::zeros({16385}, DType::f32, device);
  CudaGraph too_large(device, [&] { z.assign(large); });
  too_large.run();
  CHECK_THROWS_AS(too_large.run(), DeviceError);
}

TEST_CASE("CudaGraph: what it makes keeps its address from the second run on") {
  if (!device_answers()) return;
  Tensor y, x = on(Device::cuda(), {1, 2});
  CudaGraph graph(Device::cuda(), [&] { y = x + 1.0; });
  graph.run();
  graph.run();
  const void* address = y.raw();
  const Tensor mine = y.clone();
  x.fill(5.0);
  graph.run();
  CHECK(y.raw() == address);
  CHECK(y.to_vector<float>() == Values{6, 6});
  CHECK(mine.to_vector<float>() == Values{2, 3});
}

TEST_CASE("CudaGraph: a result read back while it is recorded is refused, and the next run works") {
  if (!device_answers()) return;
  Tensor x = on(Device::cuda(), {2});
  Tensor y;
  bool read = true;
  CudaGraph graph(Device::cuda(), [&] {
    y = x * 3.0;
    if (read) y.item();
  });
  graph.run();
  for (int attempt = 0; attempt < 2; ++attempt) {
    CHECK_THROWS_WITH_AS(graph.run(),
                         "cuda: a result cannot be read back while a graph is recorded: nothing "
                         "has run yet; read it after run()",
                         DeviceError);
    CHECK_FALSE(capturing());
    CHECK((x + 1.0).item() == 3.0);  // the stream works
  }
  read = false;
  graph.run();
  graph.run();
  CHECK(y.item() == 6.0);
}

TEST_CASE("CudaGraph: what the work throws passes through and leaves nothing broken") {
  for (const Device device : devices()) {
    Tensor x = on(device, {2}), y;
    bool broken = true;
    CudaGraph graph(device, [&] {
      y = x * 3.0;
      const Tensor other = y + 1.0;
      if (broken) throw ValueError("no luck");
      y = other;
    });
    const std::size_t before = memory::usage(device).current;
    CHECK_THROWS_WITH_AS(graph.run(), "no luck", ValueError);  // the first run
    CHECK((x + 1.0).item() == 3.0);
    broken = false;
    graph.run();
    CHECK(y.item() == 7.0);
    broken = true;
    CHECK_THROWS_WITH_AS(graph.run(), "no luck", ValueError);  // the recording
    CHECK_FALSE(capturing());
    CHECK((x + 1.0).item() == 3.0);
    broken = false;
    for (int run = 0; run < 3; ++run) {
      x.fill(run);
      graph.run();
      CHECK(y.item() == 3 * run + 1);
    }
    y = {};
    CHECK(memory::usage(device).current == before);
  }
}

TEST_CASE("CudaGraph: work that asks for more memory than in its first run is refused") {
  if (!device_answers()) return;
  std::int64_t size = 10;
  CudaGraph graph(Device::cuda(), [&] { Tensor::zeros({size}, DType::f32, Device::cuda()); });
  memory::empty_cache(Device::cuda());
  graph.run();
  size = 1000000;
  try {
    graph.run();
    FAIL("must throw");
  } catch (const DeviceError& e) {
    const std::string text = e.what();
    CHECK(text.find("a graph that is being recorded cannot get new memory") != std::string::npos);
    CHECK(text.find("4000000 bytes") != std::string::npos);
  }
  size = 10;
  graph.run();
}

TEST_CASE("CudaGraph: two of them, run in turns, do not touch each other's memory or anybody's") {
  for (const Device device : devices()) {
    Tensor x = Tensor::full({1000}, 1.0, DType::f32, device), y, z;
    const auto chain = [&](double factor, Tensor& result) {
      Tensor t = x * factor;
      for (int i = 0; i < 3; ++i) t = t + x;
      result = t;
    };
    CudaGraph first(device, [&] { chain(10.0, y); }), second(device, [&] { chain(100.0, z); });
    for (int run = 0; run < 5; ++run) {
      x.fill(run);
      first.run();
      const Tensor eager = Tensor::full({1000}, -1.0, DType::f32, device);
      second.run();
      CHECK(y.to_vector<float>() == Values(1000, as_float(13 * run)));
      CHECK(z.to_vector<float>() == Values(1000, as_float(103 * run)));
      CHECK(eager.to_vector<float>() == Values(1000, -1.0f));
      first.run();
      CHECK(z.to_vector<float>() == Values(1000, as_float(103 * run)));
    }
  }
}

TEST_CASE("CudaGraph: memory that the recording uses stays the graph's when its tensors are gone") {
  for (const Device device : devices()) {
    Tensor x = Tensor::full({1000}, 2.0, DType::f32, device), y;
    Tensor sum = Tensor::zeros({1000}, DType::f32, device);
    CudaGraph graph(device, [&] {
      y = x * 3.0;
      sum.assign(sum + y);
    });
    graph.run();
    graph.run();
    y = {};  // the recording still writes there
    std::vector<Tensor> others;
    for (int i = 0; i < 8; ++i) {
      others.push_back(Tensor::full({1000}, i, DType::f32, device));
    }
    graph.run();
    CHECK(sum.to_vector<float>() == Values(1000, 18.0f));
    for (std::size_t i = 0; i < others.size(); ++i) {
      CHECK(others[i].to_vector<float>() == Values(1000, static_cast<float>(i)));
    }
  }
}

TEST_CASE("CudaGraph: what the work frees while it is recorded is not given to anybody else") {
  if (!device_answers()) return;
  const Device device = Device::cuda();
  Tensor x = Tensor::full({1000}, 1.0, DType::f32, device), y, factor;
  CudaGraph graph(device, [&] {
    y = x * factor;
    factor = {};  // later runs still read there
  });
  for (int run = 0; run < 2; ++run) {
    factor = Tensor::full({1000}, 7.0, DType::f32, device);
    const void* address = factor.raw();
    graph.run();
    CHECK(y.to_vector<float>() == Values(1000, 7.0f));
    std::vector<Tensor> others;
    for (int i = 0; i < 8; ++i) others.push_back(Tensor::zeros({1000}, DType::f32, device));
    const bool given = std::any_of(others.begin(), others.end(),
                                   [&](const Tensor& t) { return t.raw() == address; });
    if (run == 1) CHECK_FALSE(given);
  }
}

TEST_CASE("CudaGraph: its tensors outlive it, and their memory comes back with them") {
  for (const Device device : devices()) {
    const std::size_t before = memory::usage(device).current;
    {
      Tensor x = Tensor::full({1000}, 2.0, DType::f32, device), y;
      {
        CudaGraph graph(device, [&] { y = x * 3.0 + x; });
        for (int run = 0; run < 3; ++run) graph.run();
      }
      std::vector<Tensor> others;
      for (int i = 0; i < 8; ++i) others.push_back(Tensor::zeros({1000}, DType::f32, device));
      CHECK(y.to_vector<float>() == Values(1000, 8.0f));
    }
    CHECK(memory::usage(device).current == before);
    memory::empty_cache(device);
    CHECK(memory::usage(device).cached == 0);  // no graph keeps any
  }
}

TEST_CASE("CudaGraph: a graph inside a graph is refused on the device") {
  if (!device_answers()) return;
  Tensor y = Tensor::zeros({1}, DType::f32, Device::cuda());
  CudaGraph inner(Device::cuda(), [&] { y.fill(1.0); });
  CudaGraph outer(Device::cuda(), [&] { inner.run(); });
  CHECK_THROWS_AS(outer.run(), DeviceError);
  inner.run();
  inner.run();
  CHECK_THROWS_AS(outer.run(), DeviceError);
  CHECK(y.item() == 1.0);
}

TEST_CASE("CudaGraph: draws with a bound step are those of the step that it holds at the run") {
  for (const Device device : devices()) {
    Rng rng(42, Purpose::noise), plain(42, Purpose::noise);
    Tensor step = Tensor::zeros({1}, DType::i64, device);
    rng.bind(step);
    Tensor x, u;
    CudaGraph graph(device, [&] {
      rng.seek(0, 3);
      x = randn(rng, {5, 7}, DType::f32, device);
      u = rand(rng, {5, 7}, DType::f32, device);
    });
    for (const std::int64_t s : {0, 1, 2, 7, 1 << 20}) {
      step.fill(static_cast<double>(s));
      graph.run();
      plain.seek(static_cast<std::uint64_t>(s), 3);
      CHECK(x.to_vector<float>() == randn(plain, {5, 7}).to_vector<float>());
      CHECK(u.to_vector<float>() == rand(plain, {5, 7}).to_vector<float>());
    }
  }
}

TEST_CASE("CudaGraph: a device that is not there is refused with the reason") {
  CHECK_THROWS_AS(CudaGraph(Device::cuda(1), [] {}), DeviceError);
  if (available(Device::cuda())) return;
  CHECK_THROWS_AS(CudaGraph(Device::cuda(), [] {}), DeviceError);
}
