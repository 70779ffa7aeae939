// What train_mnist and train_cifar10 do; they differ in their recipes only.
#pragma once

#include "examples/app/train_options.h"

namespace ito::app {

/// Reads the command line over `recipe` and trains. Returns the exit code.
int train_images(const TrainOptions& recipe, int argc, char** argv);

}  // namespace ito::app
