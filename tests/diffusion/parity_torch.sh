#!/usr/bin/env bash
# Lets PyTorch compute a preset, mnist or cifar10, and compares: the network itself, then a folder of
# diffusers with the same weights, by way of convert and predict_noise.
# usage: parity_torch.sh PRESET PROGRAMS_DIR SCRIPT WORK_DIR
# Exits with 77 (skipped) where PyTorch is missing, or with 1 if ITO_REQUIRE_TORCH is set.
set -euo pipefail
preset=$1 bin=$2 script=$3 work=$4/parity_$1
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
python=/usr/bin/python3  # Debian's, for which the package python3-torch is
[[ -x $python ]] || python=python3
status=0
"$python" "$script" "$preset" "$work/fixture.safetensors" "$work/folder" || status=$?
if [[ $status == 77 || $status == 127 ]]; then
  echo "parity_torch: SKIPPED: nothing was compared; apt-get install python3-torch" >&2
  [[ -z ${ITO_REQUIRE_TORCH:-} ]] || exit 1
  exit 77
fi
[[ $status == 0 ]] || exit "$status"
"$bin/test_unet_parity" "$work/fixture.safetensors"
"$bin/convert" --to ito --checkpoint "$work/folder" --out "$work/converted.safetensors"
"$bin/predict_noise" --checkpoint "$work/converted.safetensors" --device cpu \
  --input "$work/folder/input.safetensors" --output "$work/ours.safetensors"
# eps_hat of a fresh network is about 1 at most.
"$bin/compare_tensors" "$work/folder/expected.safetensors" "$work/ours.safetensors" eps_hat eps_hat 1e-4
