#include "autograd/ops/indexing.h"

#include "autograd/engine.h"
#include "tensor/check.h"
#include "tensor/cuda_graph.h"
#include "tensor/kernels/indexing.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// Kernels trust their indices, so each is looked at here, on the CPU whatever the device; not while
// a graph is recorded, when nothing can be read back: see tensor/kernels/indexing.h.
void expect_ids(const char* op, const Tensor& ids, std::int64_t count) {
  expect_dtype(op, "ids", ids, DType::i64);
  if (capturing()) return;
  const Tensor here = ids.to(Device::cpu());
  const std::int64_t* id = here.data<std::int64_t>();
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    if (id[i] < 0 || id[i] >= count) {
      fail<ValueError>("{}: ids must be in [0, {}); got ids[{}] = {} (flat index), {}", op, count,
                       i, id[i], describe({{"ids", ids}}));
    }
  }
}

Shape joined(const Shape& ids, const Shape& row) {
  auto sizes = ids.to_vector();
  sizes.insert(sizes.end(), row.begin(), row.end());
  return Shape(sizes);
}

Tensor gather_rows(const Tensor& table, const Tensor& ids);

// The transpose of gather_rows: [ids..., ...] to [rows, ...]. Each is the other's gradient.
Tensor scatter_rows(const Tensor& x, const Tensor& ids, const Shape& table_shape) {
  Tensor y = Tensor::empty(table_shape, x.dtype(), x.device());
  const std::int64_t rows = table_shape[0], width = table_shape.removed(0).numel();
  launch<kernel::ScatterAdd>(
      x.device(), {x.raw(), ids.raw(), y.mutable_raw(), ids.numel(), width, rows, x.dtype()});
  return record("scatter_rows", y, {{x, [ids](const Tensor& dy) { return gather_rows(dy, ids); }}});
}

Tensor gather_rows(const Tensor& table, const Tensor& ids) {
  const Shape row = table.shape().removed(0);
  Tensor y = Tensor::empty(joined(ids.shape(), row), table.dtype(), table.device());
  launch<kernel::Gather>(table.device(), {table.raw(), ids.raw(), y.mutable_raw(), ids.numel(),
                                          row.numel(), table.size(0), table.dtype()});
  return record("gather", y, {{table, [ids, shape = table.shape()](const Tensor& dy) {
                                 return scatter_rows(dy, ids, shape);
                               }}});
}

void expect_one_device(const char* op, const Tensor& table, const Tensor& ids) {
  if (table.device() != ids.device()) {
    fail<DeviceError>("{}: table and ids must be on one device; got {}", op,
                      describe({{"table", table}, {"ids", ids}}));
  }
}

}  // namespace

Tensor gather(const Tensor& table, const Tensor& ids) {
  expect_defined("gather", "table", table);
  if (table.rank() == 0) {
    fail<ShapeError>("gather: table must have at least one axis; got {}",
                     describe({{"table", table}}));
  }
  expect_ids("gather", ids, table.size(0));
  expect_one_device("gather", table, ids);
  return gather_rows(table, ids);
}

Tensor embedding(const Tensor& table, const Tensor& ids) {
  expect_rank("embedding", "table", table, 2);
  expect_ids("embedding", ids, table.size(0));
  expect_one_device("embedding", table, ids);
  return gather_rows(table, ids);
}

Tensor one_hot(const Tensor& ids, std::int64_t classes, DType dtype) {
  if (classes < 0) fail<ValueError>("one_hot: classes must be >= 0; got {}", classes);
  expect_ids("one_hot", ids, classes);
  Tensor y = Tensor::empty(ids.shape().inserted(ids.rank(), classes), dtype, ids.device());
  launch<kernel::OneHot>(ids.device(), {ids.raw(), y.mutable_raw(), ids.numel(), classes, dtype});
  return y;
}

}  // namespace ito
