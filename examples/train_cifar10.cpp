// Trains a diffusion model on CIFAR-10 with the recipe of the paper (Ho et al. 2020, appendix B).
// The training itself is one page: train_images.cpp.
//
//   train_cifar10 --data data/cifar10
//   train_cifar10 --channels 64 --batch 32 --steps 20000       something smaller
#include "examples/train_images.h"

int main(int argc, char** argv) {
  return ito::app::train_images(ito::app::cifar10_recipe(), argc, argv);
}
