#include "tests/ops/op_table.h"

namespace ito::optable {

const std::vector<OpCase>& op_table() {
  static const std::vector<OpCase> table = [] {
    std::vector<OpCase> rows;
    add_attention_cases(rows);
    add_conv_cases(rows);
    add_conv_upsample_cases(rows);
    add_elementwise_cases(rows);
    add_indexing_cases(rows);
    add_layout_cases(rows);
    add_linalg_cases(rows);
    add_loss_cases(rows);
    add_norm_cases(rows);
    add_quantile_cases(rows);
    add_random_cases(rows);
    add_reduce_cases(rows);
    add_resample_cases(rows);
    add_softmax_cases(rows);
    return rows;
  }();
  return table;
}

}  // namespace ito::optable
