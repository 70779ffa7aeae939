#!/usr/bin/env bash
# Lets PyTorch compute the preset `mnist` and compares.
# usage: parity_mnist.sh TEST_PROGRAM SCRIPT WORK_DIR
# Exits with 77 (skipped) where PyTorch is missing, or with 1 if ITO_REQUIRE_TORCH is set.
set -euo pipefail
fixture=$3/unet_parity_mnist.safetensors
python=/usr/bin/python3  # Debian's, for which the package python3-torch is
[[ -x $python ]] || python=python3
status=0
"$python" "$2" mnist "$fixture" || status=$?
if [[ $status == 77 || $status == 127 ]]; then
  echo "parity_mnist: SKIPPED: nothing was compared; apt-get install python3-torch" >&2
  [[ -z ${ITO_REQUIRE_TORCH:-} ]] || exit 1
  exit 77
fi
[[ $status == 0 ]] || exit "$status"
"$1" "$fixture"
