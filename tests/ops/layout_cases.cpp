#include "tests/ops/op_table.h"

namespace ito::optable {

void add_layout_cases(Rows&) {}

}  // namespace ito::optable
