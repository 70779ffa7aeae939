#!/usr/bin/env bash
# The comparison with PyTorch, against a stand-in that claims fixed figures. usage: compare_torch.sh BIN_DIR SOURCE_DIR WORK_DIR
set -euo pipefail
bin=$1
source_dir=$2
work=$3
rm -rf "$work"
mkdir -p "$work"
command -v python3 >/dev/null || { echo "no python3"; exit 77; }

# A network of $1 parameters, 10 s a step.
stand_in() {
  cat >"$work/python$1" <<SCRIPT
#!/bin/bash
[[ \$* == *'import torch'* ]] && exit
task=train
[[ \$* == *--sample* ]] && task=sample
echo "{\"peer\": \"stand-in\", \"task\": \"\$task\", \"preset\": \"tiny\", \"threads\": 1, \"batch\": 2, \"steps\": 3, \"parameters\": $1, \"step_ms\": 10000, \"cpu_ms\": 20000, \"images_per_s\": 0.2, \"resident_bytes\": 1000000000000}"
SCRIPT
  chmod +x "$work/python$1"
}

parameters=$("$bin/bench_sample" --preset tiny --count 1 --steps 1 --json | sed 's/.*"parameters": \([0-9]*\).*/\1/')
stand_in "$parameters"
stand_in 7
compare() {
  "$source_dir/benchmarks/compare_torch.sh" --bin "$bin" --preset tiny --batch 2 --threads 1 --rounds 3 --steps 3 "$@"
}
for task in train sample; do
  compare --task $task --python "$work/python$parameters" --python /nowhere/python \
    --json "$work/$task.json" >"$work/$task.log" 2>"$work/$task.err"
  grep -q '/nowhere/python has no PyTorch' "$work/$task.err"
  python3 - "$work/$task.json" $task <<'PYTHON'
import json, sys
result = json.load(open(sys.argv[1]))
(row,) = result["comparisons"]
(peer,) = row["peers"]
assert row["task"] == sys.argv[2] and len(result["runs"]) == 6
mine = sorted(run["step_ms"] for run in result["runs"] if run["peer"] == "ito")
assert row["ito"]["step_ms"] == mine[1], "not the median"
assert abs(peer["times_as_fast"] * mine[1] / 10000 - 1) < 1e-2
assert 0 <= peer["memory_share"] < 0.01
PYTHON
done
grep -q '^training step, tiny, batch 2 ' "$work/train.log"
grep -q '^DDIM-3, tiny, 2 images .* img/s ' "$work/sample.log"

compare --recompute --python "$work/python$parameters" 2>&1 | grep -q '^training step, tiny, batch 2, recomputing '

# Another network is no comparison, nor is no PyTorch at all; a task without a network is no question.
if "$source_dir/benchmarks/compare_torch.sh" --bin "$bin" --task sample >"$work/task.log" 2>&1; then
  echo "a task without a network"
  exit 1
fi
grep -q -e '--task needs --preset' "$work/task.log"
if compare --python "$work/python7" >"$work/wrong.log" 2>&1; then echo "compared different networks"; exit 1; fi
grep -q 'the networks of tiny differ' "$work/wrong.log"
if compare --python /nowhere/python >"$work/none.log" 2>&1; then echo "compared with nothing"; exit 1; fi
grep -q 'PyTorch is missing' "$work/none.log"
