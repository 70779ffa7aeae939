// Kernels that choose among several ways by size and alignment: shapes for each of them, through
// the device checks of the op table. The table's own rows hold the mathematics; these are compared
// with the CPU only.
#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/resample.h"
#include "autograd/ops/softmax.h"
#include "tests/devices.h"
#include "tests/ops/op_checks.h"

using namespace ito;
using namespace ito::optable;

namespace {

void check(const OpCase& row) {
  if (!testing::device_answers()) return;
  for (const auto check : {check_devices, check_bf16, check_misaligned, check_repeat}) {
    for (const std::string& finding : check(row)) FAIL_CHECK(finding);
  }
}

using Shapes = std::vector<std::vector<Shape>>;

OpCase row(const char* name, std::vector<Input> inputs, Shapes shapes,
           std::function<Tensor(const Tensors&)> op) {
  OpCase result;
  result.name = name;
  result.inputs = std::move(inputs);
  result.shapes = std::move(shapes);
  result.op = std::move(op);
  return result;
}

}  // namespace

TEST_CASE("device: every way of a reduction of [outer, reduced, inner]") {
  const Shapes shapes = {
      // One to 32 lanes per row, with and without vectors.
      {{5, 1, 1}},
      {{5, 3, 1}},
      {{40, 8, 1}},
      {{7, 33, 1}},
      {{70, 256, 1}},
      {{3, 1024, 1}},
      // A block per row; rows in pieces; a tail within a vector.
      {{1, 7, 1}},
      {{1, 300, 1}},
      {{2, 3001, 1}},
      {{2, 9000, 1}},
      {{1, 17003, 1}},
      // A thread per column.
      {{3, 4, 2}},
      {{3, 8, 8}},
      {{2, 9, 1700}},
      // Tall: strips, pieces, both.
      {{1, 9, 2}},
      {{2, 500, 3}},
      {{1, 700, 32}},
      {{1, 5000, 8}},
      {{1, 2100, 129}},
      {{2, 300, 264}},
  };
  const std::vector<Input> x = {{"x", uniform(-1, 3)}};
  check(row("sum", x, shapes, [](const Tensors& in) { return sum(in[0], {1}); }));
  // Without gradient: values that round to one bf16 share it otherwise than in f64.
  OpCase largest = row("max", x, shapes, [](const Tensors& in) { return max(in[0], {1}); });
  largest.differentiable = 0;
  check(largest);
}

TEST_CASE("device: every way of a softmax") {
  Shapes shapes;
  for (const std::int64_t n : {1, 31, 33, 100, 128, 200, 255, 256, 257, 512, 1000, 1024, 1028}) {
    shapes.push_back({{3, n}});
  }
  check(row("softmax", {{"x"}}, shapes, [](const Tensors& in) { return softmax(in[0]); }));
}

TEST_CASE("device: every way of a copy") {
  // Tiles, with tails on both sides; too narrow for tiles.
  const Shapes matrices = {{{2, 33, 70}}, {{1, 64, 32}}, {{2, 8, 8}}, {{2, 3, 50}}, {{2, 50, 3}}};
  check(row("permute", {{"x"}}, matrices, [](const Tensors& in) {
    return permute(in[0], {0, 2, 1});
  }));
  check(row("permute, reversed", {{"x"}}, matrices, [](const Tensors& in) {
    return permute(in[0], {2, 1, 0});
  }));
  // Runs of 1, 2, 3, 4, 8, 24 and 40 elements: units of 2 to 16 bytes.
  Shapes runs;
  for (const std::int64_t n : {1, 2, 3, 4, 8, 24, 40}) runs.push_back({{3, 5, n}});
  check(row("permute, runs", {{"x"}}, runs, [](const Tensors& in) {
    return permute(in[0], {1, 0, 2});
  }));
  check(row("concat, last axis", {{"a"}, {"b"}},
            {{{3, 8}, {3, 16}}, {{3, 3}, {3, 5}}, {{300, 4}, {300, 12}}}, [](const Tensors& in) {
              return concat({in[0], in[1]}, -1);
            }));
  check(row("slice, last axis", {{"x"}}, {{{3, 24}}, {{300, 17}}},
            [](const Tensors& in) { return slice(in[0], 1, 8, 16); }));
  check(row("expand, last axis", {{"x"}}, {{{3, 1}}, {{1, 1}}}, [](const Tensors& in) {
    return expand(in[0], {3, 48});
  }));
  check(row("expand, odd", {{"x"}}, {{{3, 1}}, {{1, 7}}}, [](const Tensors& in) {
    return expand(in[0], {3, 7});
  }));
}

TEST_CASE("device: every way of a broadcast") {
  const Shapes shapes = {
      {{40, 50}, {40, 50}},
      {{1031}, {1031}},
      {{1031}, {}},
      {{40, 64}, {64}},
      {{64}, {40, 64}},
      {{40, 64}, {40, 1}},
      {{4, 9, 16}, {4, 1, 16}},
      {{4, 9, 16}, {9, 1}},
      {{4, 9, 7}, {4, 1, 7}},
      {{2, 3, 2, 8}, {2, 1, 2, 1}},
      {{2, 1, 16}, {1, 3, 1}},
      {{5, 1}, {1, 24}},
      {{2, 1, 3, 1, 8}, {2, 1, 2, 1}},
  };
  check(row("mul", {{"a"}, {"b"}}, shapes, [](const Tensors& in) { return in[0] * in[1]; }));
  check(row("where", {{"a"}, {"b"}}, shapes,
            [](const Tensors& in) { return where(detach(in[0]) > 0.5, in[0], in[1]); }));
}

TEST_CASE("device: rows by index, wide and narrow, many and few") {
  const Input ids = {"ids", integers(0, 5), Input::Kind::index};
  check(row("gather", {{"table"}, ids},
            {{{5, 8}, {3}}, {{5, 40}, {70}}, {{9, 33}, {100}}, {{5, 7}, {31}}, {{300, 64}, {40}}},
            [](const Tensors& in) { return gather(in[0], in[1]); }));
}

TEST_CASE("device: resampling with vectors and without") {
  const Shapes shapes = {{{2, 6, 6, 8}}, {{1, 12, 6, 16}}, {{2, 6, 12, 3}}, {{3, 6, 6, 1}}};
  for (const int factor : {1, 2, 3}) {
    check(row("upsample", {{"x"}}, shapes,
              [=](const Tensors& in) { return upsample_nearest(in[0], factor); }));
    check(row("avg_pool", {{"x"}}, shapes,
              [=](const Tensors& in) { return avg_pool(in[0], factor); }));
  }
}

TEST_CASE("device: a mean squared error over one block and over many") {
  check(row("mse", {{"a"}, {"b"}}, {{{1}, {1}}, {{1023}, {1023}}, {{30001}, {30001}}},
            [](const Tensors& in) { return mse(in[0], in[1]); }));
}
