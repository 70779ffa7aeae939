#!/usr/bin/env bash
# bench_kernels runs every kernel, and its results can be plotted. usage: bench_kernels.sh PROGRAM SOURCE_DIR WORK_DIR
set -euo pipefail
program=$1
source_dir=$2
work=$3
mkdir -p "$work"
status=0
"$program" --smoke --json "$work/kernels.json" >"$work/log" 2>&1 || status=$?
if ((status != 0)); then
  tail -5 "$work/log"
  exit "$status"  # 77: no device here
fi
for name in conv2d/tensor_core conv2d_weight_grad/cublas group_norm_grad/slab attention/tiled adam_step/vectors; do
  grep -q "\"name\": \"$name/bf16/" "$work/kernels.json" || { echo "$name was not measured"; exit 1; }
done
if grep '"error_message"' "$work/kernels.json" | grep -v 'does not take the shape'; then exit 1; fi
command -v python3 >/dev/null || { echo "no python3: nothing plotted"; exit 0; }
python3 "$source_dir/benchmarks/plot_kernels.py" "$work/kernels.json" "$work/kernels.svg"
grep -q '</svg>' "$work/kernels.svg"
python3 "$source_dir/benchmarks/plot_kernels.py" "$work/kernels.json" --markdown >"$work/kernels.md"
grep -q '^| together |' "$work/kernels.md"
