// Features for evaluate: three numbers for each of 40 images, and the same larger by 1.
// usage: make_features FILE [same|nan|clusters|reversed]
//   same      both are equal
//   nan       one of the samples' is no number
//   clusters  80 references, half of them far away; 40 samples near the first half
//   reversed  the same with the references in the opposite order
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ito.h"

int main(int argc, char** argv) {
  using namespace ito;
  if (argc != 2 && argc != 3) return 2;
  const std::string kind = argc == 3 ? argv[2] : "";
  Rng rng(1, Purpose::test);
  const Tensor reference = randn(rng, {40, 3});
  Tensor samples = kind == "same" ? reference : reference + 1.0, real = reference;
  if (kind == "nan") samples.mutable_data<float>()[3 * 3 + 1] = NAN;
  if (kind == "clusters" || kind == "reversed") {
    std::vector<Tensor> rows;
    samples = randn(rng, {40, 3});
    real = concat({reference, randn(rng, {40, 3}) + 20.0}, 0);
    for (std::int64_t i = 0; i < 80; ++i) rows.push_back(slice(real, 0, i, i + 1));
    if (kind == "reversed") std::reverse(rows.begin(), rows.end());
    real = concat(rows, 0);
  }
  nn::save_safetensors(argv[1], {{"reference", real}, {"samples", samples}});
  return 0;
}
