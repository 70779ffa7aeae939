#include "tensor/memory.h"

#include <doctest/doctest.h>

#include <string>

#include "tensor/error.h"
#include "tensor/tensor.h"

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
  const std::size_t start = memory::usage().current;
  memory::reset_peak();
  {
    const Tensor a = Tensor::zeros({1000});
    CHECK(memory::usage().current == start + 4000);
    {
      const Tensor b = Tensor::zeros({2000}), alias = b.alias({10});
      CHECK(memory::usage().current == start + 12000);
    }
    CHECK(memory::usage().current == start + 4000);
    CHECK(memory::usage().peak == start + 12000);
    memory::reset_peak();
    CHECK(memory::usage().peak == start + 4000);
  }
  CHECK(memory::usage().current == start);
}

TEST_CASE("memory: freed blocks are used again, and can be given back") {
  memory::empty_cache();
  CHECK(memory::usage().cached == 0);
  const void* first = nullptr;
  {
    const Tensor a = Tensor::empty({100000});
    first = a.raw();
  }
  if (memory::usage().cached == 0) return;  // under a sanitizer nothing is kept
  CHECK(memory::usage().cached >= 400000);
  const Tensor b = Tensor::empty({100000});
  CHECK(b.raw() == first);
  CHECK(memory::usage().cached == 0);
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
