// What the engine tells a profile: whose gradient it is computing.
#include "tensor/profile.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/reduce.h"
#include "tensor/profile_report.h"

using namespace ito;

namespace {

struct Cube {
  Tensor operator()(const Tensor& x) const {
    const profile::Scope scope(this);
    return x * x * x;
  }
};

struct Exp {
  Tensor operator()(const Tensor& x) const {
    const profile::Scope scope(this);
    return exp(x);
  }
};

// A network of two layers, and its profile.
struct Run {
  Cube cube;
  Exp last;
  profile::Profile profile;

  Run() {
    profile.name(typeid(Cube), &cube, "cube");
    profile.name(typeid(Exp), &last, "exp");
  }
  profile::LayerTotal total(const std::string& layer) const {
    for (const auto& row : profile::by_layer(profile)) {
      if (row.layer == layer) return row;
    }
    return {};
  }
};

}  // namespace

TEST_CASE("profile: the backward pass is counted for the layers whose gradients it computes") {
  Run run;
  const Tensor x = parameter(Tensor::full({8}, 0.5));
  {
    const profile::Profiling on(run.profile);
    backward(sum(run.last(run.cube(x))));
  }
  CHECK(run.total("cube").forward.launches == 2);
  CHECK(run.total("cube").backward.launches >= 4);  // two products of two, and sums of dx
  CHECK(run.total("exp").forward.launches == 1);
  CHECK(run.total("exp").backward.launches == 1);
  CHECK(run.total("exp").recompute.launches == 0);
}

TEST_CASE("profile: a graph remembers its layers only if they ran while one was recorded") {
  Run run;
  const Tensor x = parameter(Tensor::full({8}, 0.5));
  const Tensor y = sum(run.last(run.cube(x)));
  {
    const profile::Profiling on(run.profile);
    backward(y);
  }
  CHECK(profile::all_kernels(run.profile).launches > 0);
  CHECK(run.total("cube").backward.launches == 0);
}

TEST_CASE("profile: gradients of gradients belong to the layer, too") {
  Run run;
  const Tensor x = parameter(Tensor::full({8}, 0.5));
  {
    const profile::Profiling on(run.profile);
    const auto [dx] = grad<1>(sum(run.cube(x)), {x}, {.create_graph = true});
    const std::int64_t once = run.total("cube").backward.launches;
    backward(sum(dx));
    CHECK(run.total("cube").backward.launches > once);
  }
}

TEST_CASE(
    "profile: what a checkpoint computes again is told from the first time and the gradient") {
  Run run;
  const Tensor x = parameter(Tensor::full({8}, 0.5));
  {
    const profile::Profiling on(run.profile);
    const Tensor y =
        recompute([&](const std::vector<Tensor>& in) { return run.last(run.cube(in[0])); }, {x});
    backward(sum(y));
  }
  CHECK(run.total("cube").forward.launches == 2);
  CHECK(run.total("cube").recompute.launches == 2);
  CHECK(run.total("cube").backward.launches >= 4);
  CHECK(run.total("exp").recompute.launches == 1);
  CHECK(x.grad().data<float>()[0] == doctest::Approx(0.75 * std::exp(0.125)));
}
