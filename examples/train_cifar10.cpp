// Trains a diffusion model on CIFAR-10 with the recipe of the paper (Ho et al. 2020, appendix B).
//
//   train_cifar10 --data data/cifar10
//   train_cifar10 --channels 64 --batch 32 --steps 20000       something smaller
//
// The loop is the one of train_mnist.cpp; the programs differ in their defaults only, so this file
// is that one with another recipe.
#define ITO_RECIPE app::cifar10_recipe()
#include "examples/train_mnist.cpp"
