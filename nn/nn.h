// The whole of nn/: modules, initialisers, optimizers, EMA, files.
//
//   #include "nn/nn.h"
//   nn::Linear layer(784, 10, init);
#pragma once

#include "nn/adam.h"
#include "nn/attention.h"
#include "nn/checkpoint.h"
#include "nn/ema.h"
#include "nn/finite.h"
#include "nn/flat.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/lr_schedule.h"
#include "nn/module.h"
#include "nn/name_layers.h"
#include "nn/recompute.h"
#include "nn/safetensors.h"
#include "nn/step_history.h"
