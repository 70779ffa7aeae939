// The files of the op table: one function per <stem>_cases.cpp, called by op_table(). Listed by
// hand, because a linker drops objects of a static library that only register themselves.
#pragma once

#include "tests/ops/op_case.h"

namespace ito::optable {

using Rows = std::vector<OpCase>;

void add_attention_cases(Rows& rows);
void add_conv_cases(Rows& rows);
void add_conv_upsample_cases(Rows& rows);
void add_elementwise_cases(Rows& rows);
void add_indexing_cases(Rows& rows);
void add_layout_cases(Rows& rows);
void add_linalg_cases(Rows& rows);
void add_loss_cases(Rows& rows);
void add_norm_cases(Rows& rows);
void add_quantile_cases(Rows& rows);
void add_random_cases(Rows& rows);
void add_reduce_cases(Rows& rows);
void add_resample_cases(Rows& rows);
void add_softmax_cases(Rows& rows);

}  // namespace ito::optable
