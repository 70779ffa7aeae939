// Selecting rows by index.
//
//   const Tensor table = Tensor::zeros({10, 128});            // a row for each class
//   const Tensor rows = embedding(table, labels);             // labels i64 [N], rows [N, 128]
//   const Tensor targets = one_hot(labels, /*classes=*/10);   // [N, 10]
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// Rows of `table` [V, ...] at `ids` (i64, any shape): [ids..., ...]. The gradient adds rows up in
/// the order of ids. Throws ValueError naming the first id outside [0, V).
Tensor gather(const Tensor& table, const Tensor& ids);
/// gather under the name that networks use: table [V, C], ids i64 [N] to [N, C].
Tensor embedding(const Tensor& table, const Tensor& ids);

/// 1 at [..., id], 0 elsewhere: ids i64 [...] to [..., classes]. No gradient.
Tensor one_hot(const Tensor& ids, std::int64_t classes, DType dtype = DType::f32);

}  // namespace ito
