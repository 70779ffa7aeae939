// The whole of data/: data sets, batches, points, PNG files.
//
//   #include "data/data.h"
//   const data::Dataset dataset = data::make_synthetic(64, seed);
#pragma once

#include "data/batch.h"
#include "data/dataset.h"
#include "data/describe.h"
#include "data/png.h"
#include "data/points.h"
