#include "tensor/memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/tensor.h"
#include "tests/devices.h"
#include "tests/sanitized.h"

// A request that no machine can serve must come back as a null pointer here, as it does without
// sanitizers.
#if defined(__SANITIZE_ADDRESS__)
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#elif defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }
#endif

using namespace ito;

TEST_CASE("memory: current follows the living tensors, peak the most there were") {
  for (const Device device : testing::devices()) {
    const auto zeros = [&](std::int64_t n) { return Tensor::zeros({n}, DType::f32, device); };
    const std::size_t start = memory::usage(device).current;
    memory::reset_peak(device);
    {
      const Tensor a = zeros(1000);
      CHECK(memory::usage(device).current == start + 4000);
      {
        const Tensor b = zeros(2000), alias = b.view({10});
        CHECK(memory::usage(device).current == start + 12000);
      }
      CHECK(memory::usage(device).current == start + 4000);
      CHECK(memory::usage(device).peak == start + 12000);
      memory::reset_peak(device);
      CHECK(memory::usage(device).peak == start + 4000);
    }
    CHECK(memory::usage(device).current == start);
  }
}

TEST_CASE("memory: freed blocks are used again, and can be given back") {
  for (const Device device : testing::devices()) {
    memory::empty_cache(device);
    CHECK(memory::usage(device).cached == 0);
    const void* first = nullptr;
    {
      const Tensor a = Tensor::empty({100000}, DType::f32, device);
      first = a.raw();
    }
    if (test::sanitized) return;  // nothing is kept
    CHECK(memory::usage(device).cached >= 400000);
    const Tensor b = Tensor::empty({100000}, DType::f32, device);
    CHECK(b.raw() == first);
    CHECK(memory::usage(device).cached == 0);
  }
}

TEST_CASE("memory: each device counts its own") {
  if (!testing::device_answers()) return;
  const std::size_t cpu = memory::usage().current;
  const std::size_t device = memory::usage(Device::cuda()).current;
  const Tensor a = Tensor::empty({100000}, DType::f32, Device::cuda());
  CHECK(memory::usage().current == cpu);
  CHECK(memory::usage(Device::cuda()).current == device + 400000);
}

TEST_CASE("memory: copies between host and device, of any size, arrive whole and in order") {
  if (!testing::device_answers()) return;
  // More than the memory that copies pass through; the sources are gone or changed at once.
  std::vector<Tensor> there;
  for (const std::int64_t n : {0, 1, 3, 1000, 40000000, 17}) {
    Tensor here = Tensor::empty({n}, DType::u8);
    auto* p = here.mutable_data<std::uint8_t>();
    for (std::int64_t i = 0; i < n; ++i) p[i] = static_cast<std::uint8_t>(i * 7 + i / 256 + n);
    there.push_back(here.to(Device::cuda()));
    here.fill(0.0);
  }
  for (const Tensor& t : there) {
    const auto values = t.clone().to_vector<std::uint8_t>();
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      wrong += values[static_cast<std::size_t>(i)] !=
               static_cast<std::uint8_t>(i * 7 + i / 256 + t.numel());
    }
    CHECK(wrong == 0);
  }
  // Many small ones: the ring goes round.
  Tensor x = Tensor::zeros({2}, DType::i64, Device::cuda());
  for (std::int64_t i = 0; i < 3000; ++i) {
    x.assign(Tensor::from<std::int64_t>({i, -i}, {2}));
    if (i % 1000 == 999) CHECK(x.to_vector<std::int64_t>() == std::vector<std::int64_t>{i, -i});
  }
}

TEST_CASE("memory: the device's message has what was asked for, in use, free and in all") {
  if (!testing::device_answers()) return;
  const Tensor kept = Tensor::zeros({256}, DType::f32, Device::cuda());
  for (const std::int64_t n : {std::int64_t{1} << 46, std::int64_t{1} << 60}) {
    try {
      Tensor::empty({n}, DType::f32, Device::cuda());
      FAIL("must throw");
    } catch (const MemoryError& e) {
      const std::string text = e.what();
      CHECK(text.find("out of memory on cuda:0: asked for " + std::to_string(4 * n) + " bytes") ==
            0);
      CHECK(text.find(std::to_string(memory::usage(Device::cuda()).current) + " (") !=
            std::string::npos);
      CHECK(text.find("in use by tensors") != std::string::npos);
      CHECK(text.find("MiB free of ") != std::string::npos);
      CHECK(text.find("lower the batch size") != std::string::npos);
    }
  }
  CHECK(kept.to_vector<float>()[255] == 0.0f);  // the rest goes on
  CHECK(Tensor::zeros({4}, DType::f32, Device::cuda()).numel() == 4);
}

TEST_CASE("memory: a request that cannot be met says how much was asked for and is in use") {
  const Tensor kept = Tensor::zeros({256});
  const std::int64_t n = std::int64_t{1} << 50;
  try {
    Tensor::empty({n});
    FAIL("must throw");
  } catch (const MemoryError& e) {
    const std::string text = e.what();
    CHECK(text.find("out of memory on cpu: asked for 4503599627370496 bytes") == 0);
    CHECK(text.find(std::to_string(memory::usage().current) + " in use by tensors") !=
          std::string::npos);
    CHECK(text.find("lower the batch size") != std::string::npos);
  }
  CHECK(kept.data<float>()[255] == 0.0f);  // the rest goes on
  CHECK(Tensor::zeros({4}).numel() == 4);
}

TEST_CASE("memory: sizes at the end of the address space do not wrap around") {
  const std::size_t before = memory::usage().current;
  CHECK_THROWS_AS(Tensor::empty({(std::int64_t{1} << 61) - 1}, DType::f64), MemoryError);
  CHECK_THROWS_AS(Tensor::empty({std::int64_t{1} << 61}, DType::f64), MemoryError);
  CHECK_THROWS_AS(Tensor::empty({INT64_MAX}, DType::u8), MemoryError);
  CHECK_THROWS_AS(Tensor::empty({INT64_MAX}, DType::f64), MemoryError);
  CHECK(memory::usage().current == before);
}

TEST_CASE("memory: large blocks of changing sizes reuse what is there, and stay apart") {
  // Each block keeps a mark at both ends; lives are random, so blocks are cut and merged.
  struct Block {
    unsigned char* data;
    std::size_t bytes;
    unsigned char mark;
  };
  memory::empty_cache();
  std::vector<Block> live;
  std::uint64_t state = 1;
  const auto next = [&](std::uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state >> 33) % n);
  };
  const std::size_t before = memory::usage().current;
  std::size_t most = 0, wrong = 0;
  memory::reset_peak();
  const auto give_back = [&](std::size_t i) {
    const Block b = live[i];
    wrong += b.data[0] != b.mark || b.data[b.bytes - 1] != b.mark;
    memory::release(Device::cpu(), b.data, b.bytes);
    live[i] = live.back();
    live.pop_back();
  };
  for (int i = 0; i < 20000; ++i) {
    if (!live.empty() && (live.size() > 40 || next(2) == 0)) {
      give_back(next(live.size()));
      continue;
    }
    const std::size_t bytes = next(8) == 0 ? 1 + next(60000) : 70000 + next(1 << next(24));
    auto* data = static_cast<unsigned char*>(memory::allocate(Device::cpu(), bytes));
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(data) % memory::alignment, 0);
    const auto mark = static_cast<unsigned char>(i);
    data[0] = data[bytes - 1] = mark;
    live.push_back({data, bytes, mark});
    most = std::max(most, memory::usage().current + memory::usage().cached);
  }
  CHECK(memory::usage().peak - before > (std::size_t{30} << 20));
  // Holes between blocks cost little: exact sizes would need many times the peak here.
  CHECK(static_cast<double>(most) < 1.4 * static_cast<double>(memory::usage().peak));
  while (!live.empty()) give_back(live.size() - 1);
  CHECK(wrong == 0);
  CHECK(memory::usage().current == before);
  memory::empty_cache();
  CHECK(memory::usage().cached == 0);
  auto* again = static_cast<unsigned char*>(memory::allocate(Device::cpu(), 1 << 20));
  again[0] = again[(1 << 20) - 1] = 1;  // after empty_cache the arena works on
  memory::release(Device::cpu(), again, 1 << 20);
}
