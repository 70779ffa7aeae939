#include "cuda/launch.h"
