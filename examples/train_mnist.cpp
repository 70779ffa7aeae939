// Trains a diffusion model on small grey images. The training itself is one page: train_images.cpp.
//
//   train_mnist                                   Fashion-MNIST, into out/train_mnist
//   train_mnist --dataset mnist --data data/mnist --out out/digits
//   train_mnist --class-conditional               tells the network the classes, for guidance
//   train_mnist --minutes 5                       as many steps as this machine makes in that time
//   train_mnist --resume auto                     goes on where a stopped run was
//   train_mnist --device cuda --dtype bf16        on a GPU's tensor cores
#include "examples/train_images.h"

int main(int argc, char** argv) {
  return ito::app::train_images(ito::app::mnist_recipe(), argc, argv);
}
