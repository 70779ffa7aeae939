#!/usr/bin/env bash
# The layering check must fail on a tree that breaks the rule. usage: negative.sh CHECK WORK_DIR
set -euo pipefail
tree=$2/layering_negative
rm -rf "$tree"
mkdir -p "$tree/tensor" "$tree/autograd"
touch "$tree/tensor/b.h"
echo '#include "tensor/b.h"' >"$tree/autograd/good.h"
echo '#include "tensor/b.h"' >"$tree/tensor/good.h"
bash "$1" "$tree" >/dev/null || { echo "a clean tree was refused"; exit 1; }
echo '#include "autograd/engine.h"' >"$tree/tensor/bad.h"
if bash "$1" "$tree" >"$tree/log"; then
  echo "tensor/ including autograd/ was not noticed"
  exit 1
fi
grep -q 'tensor/bad.h:1: may not include "autograd/engine.h"' "$tree/log"
rm "$tree/tensor/bad.h"
echo 'auto s = fmt::join(sizes, ",");' >"$tree/tensor/join.h"
if bash "$1" "$tree" >"$tree/log"; then
  echo "fmt::join without its header was not noticed"
  exit 1
fi
grep -q 'fmt::join without #include <fmt/ranges.h>: ./tensor/join.h' "$tree/log"
