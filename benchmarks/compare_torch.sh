#!/bin/bash
# Times a training step of ito and of PyTorch in turn, several rounds, and prints both and the ratio.
#
#   benchmarks/compare_torch.sh [--preset mnist|cifar10] [--batch N] [--threads N] [--rounds N] [--steps N]
#                               [--bin DIR] [--json FILE]
#
# Needs a build with benchmarks (--bin: where bench_train_step is; default build/release/bin) and
# Debian's python3-torch. The rounds alternate, so that other load on the machine meets both alike. The
# ratio of processor times is the one to trust when there is such load.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=mnist batch= threads=2 rounds=3 steps=3 bin=build/release/bin json=
while (($#)); do
  case $1 in
    --preset | --batch | --threads | --rounds | --steps | --bin | --json)
      (($# > 1)) || { echo "compare_torch.sh: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift 2
      ;;
    -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit ;;
    *) echo "compare_torch.sh: unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[[ -n $batch ]] || batch=$([[ $preset == cifar10 ]] && echo 8 || echo 64)
[[ -x $bin/bench_train_step ]] || {
  echo "compare_torch.sh: there is no $bin/bench_train_step; build with: cmake --preset release && cmake --build --preset release" >&2
  exit 1
}
/usr/bin/python3 -c 'import torch' 2>/dev/null || {
  echo "compare_torch.sh: PyTorch is missing; on Debian: apt-get install python3-torch" >&2
  exit 1
}

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
options=(--preset "$preset" --batch "$batch" --threads "$threads" --steps "$steps" --warmup 1)
for ((round = 1; round <= rounds; ++round)); do
  "$bin/bench_train_step" "${options[@]}" --json | tee -a "$lines"
  /usr/bin/python3 benchmarks/torch_ddpm_unet.py "${options[@]}" | tee -a "$lines"
done

/usr/bin/python3 - "$lines" "$json" <<'PYTHON'
import json, statistics, sys
runs = [json.loads(line) for line in open(sys.argv[1])]
mine = [r for r in runs if r["peer"] == "ito"]
theirs = [r for r in runs if r["peer"] != "ito"]
assert len({r["parameters"] for r in runs}) == 1, "the networks differ"
median = lambda rows, key: statistics.median(r[key] for r in rows)
result = {"preset": mine[0]["preset"], "batch": mine[0]["batch"], "threads": mine[0]["threads"],
          "rounds": len(mine), "peer": theirs[0]["peer"]}
for key, what in (("step_ms", "a step"), ("cpu_ms", "processor time of a step")):
    a, b = median(mine, key), median(theirs, key)
    result[key] = {"ito": a, "torch": b, "ratio": round(b / a, 2)}
    print(f"{what}: ito {a:.0f} ms, {theirs[0]['peer']} {b:.0f} ms: ito is {b / a:.2f} times as fast")
if sys.argv[2]:
    with open(sys.argv[2], "w") as f:
        json.dump({**result, "runs": runs}, f, indent=1)
PYTHON
