// crop_png IN.png PLACE SIDE OUT.png: the square of SIDE pixels whose corner is PLACE from the left
// and from the top.
#include <cstdlib>

#include "ito.h"

using namespace ito;

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::int64_t place = std::atoi(argv[2]), side = std::atoi(argv[3]);
  const Tensor image = data::read_png(argv[1]);
  data::write_png(argv[4], slice(slice(image, 0, place, place + side), 1, place, place + side));
}
