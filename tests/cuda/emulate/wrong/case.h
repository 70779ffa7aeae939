// Kernels that break a rule on purpose, each beside the same kernel done right. The emulated device
// must report the one and pass the other, or the checks of all other kernels are worth nothing.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "cuda/element.h"
#include "cuda/launch.h"
#include "cuda/reduce.h"

namespace ito::wrong {

using cuda::launch;
using Values = std::vector<float>;

/// Runs the right or the wrong kernel and returns what it wrote.
struct Case {
  std::string name;
  std::function<Values(bool right)> run;
  Values expected;
};
std::vector<Case>& cases();

struct Register {
  Register(std::string name, std::function<Values(bool)> run, Values expected) {
    cases().push_back({std::move(name), std::move(run), std::move(expected)});
  }
};

/// f(0), f(1), ... f(n - 1).
template <class F>
Values values(int n, F f) {
  Values v;
  for (int i = 0; i < n; ++i) v.push_back(static_cast<float>(f(i)));
  return v;
}

/// n floats of device memory, freed at the end; NaN unless copied from the host.
class Floats {
 public:
  explicit Floats(std::size_t n) : n_(n) {
    cuda::check(cudaMalloc(&data_, n * sizeof(float)), "cudaMalloc");
  }
  explicit Floats(const Values& v) : Floats(v.size()) {
    cuda::check(cudaMemcpyAsync(data_, v.data(), n_ * sizeof(float), cudaMemcpyHostToDevice,
                                cuda::stream()),
                "cudaMemcpyAsync");
    cuda::synchronize();
  }
  ~Floats() { cudaFree(data_); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;

  float* data() { return data_; }
  Values read() const {
    Values v(n_);
    cuda::check(cudaMemcpyAsync(v.data(), data_, n_ * sizeof(float), cudaMemcpyDeviceToHost,
                                cuda::stream()),
                "cudaMemcpyAsync");
    cuda::synchronize();
    return v;
  }

 private:
  std::size_t n_;
  float* data_ = nullptr;
};

}  // namespace ito::wrong
