// Features for evaluate: three numbers for each of 40 images, and the same larger by 1.
// usage: make_features FILE
#include "ito.h"

int main(int argc, char** argv) {
  using namespace ito;
  if (argc != 2) return 2;
  Rng rng(1, Purpose::test);
  const Tensor reference = randn(rng, {40, 3});
  nn::save_safetensors(argv[1], {{"reference", reference}, {"samples", reference + 1.0}});
  return 0;
}
