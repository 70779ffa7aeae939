// A reader of IDX files with its bounds removed, to show that the corpus notices.
#include "tests/fuzz/fuzz.h"

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  return input.size() >= 4 && input[0] == 0 && input[1] == 0 && input[2] == 8;
}
