#include "tests/ops/op_table.h"

namespace ito::optable {

void add_elementwise_cases(Rows&) {}

}  // namespace ito::optable
