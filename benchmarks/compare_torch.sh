#!/bin/bash
# Times ito and PyTorch in turn on the same work and prints how many times as fast ito is, and how much
# memory it needs of what PyTorch does. Without --preset all three comparisons: training steps of mnist
# (batch 64) and cifar10 (batch 8), and 64 images of mnist drawn with DDIM in 50 steps.
#
#   benchmarks/compare_torch.sh [--python PATH]... [--preset mnist|cifar10] [--task train|sample] [--batch N]
#                               [--threads N] [--rounds N] [--steps N] [--recompute] [--bin DIR] [--json FILE]
#
#   --python     a Python with PyTorch (default /usr/bin/python3: apt-get install python3-torch); give it
#                several times to compare with several, such as Debian's and a current one
#   --preset     compare only this network, at --task (train, the default, or sample)
#   --steps      steps to time: of training (default 4, cifar10 2), or of DDIM (default 50)
#   --recompute  ito trades time for memory in training steps (bench_train_step --recompute)
#   --rounds     how often each program runs (default 3); the figures are medians
#   --bin        where bench_train_step and bench_sample are (default build/release/bin)
#   --json       also write all figures and all runs to this file
#
# The programs alternate, so that other load on the machine meets all alike. The ratio of processor
# times is the one to trust when there is such load. Memory is what the process had resident at its peak
# above what it had before it made the network: the program itself and its libraries do not count.
set -euo pipefail
cd "$(dirname "$0")/.."

preset= task= recompute=() batch= threads=2 rounds=3 steps= bin=build/release/bin json=
pythons=()
while (($#)); do
  case $1 in
    --python | --preset | --task | --batch | --threads | --rounds | --steps | --bin | --json)
      (($# > 1)) || { echo "compare_torch.sh: $1 needs a value" >&2; exit 2; }
      if [[ $1 == --python ]]; then pythons+=("$2"); else declare "${1#--}=$2"; fi
      shift 2
      ;;
    --recompute) recompute=(--recompute); shift ;;
    -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit ;;
    *) echo "compare_torch.sh: unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[[ -z $task || -n $preset ]] || { echo "compare_torch.sh: --task needs --preset" >&2; exit 2; }
task=${task:-train}
[[ $task == train || $task == sample ]] || { echo "compare_torch.sh: --task is train or sample" >&2; exit 2; }
for program in bench_train_step bench_sample; do
  [[ -x $bin/$program ]] || {
    echo "compare_torch.sh: there is no $bin/$program; build with: cmake --preset release && cmake --build --preset release" >&2
    exit 1
  }
done
((${#pythons[@]})) || pythons=(/usr/bin/python3)
peers=()
for python in "${pythons[@]}"; do
  if "$python" -W ignore -c 'import torch' 2>/dev/null; then
    peers+=("$python")
  else
    echo "compare_torch.sh: $python has no PyTorch: left out" >&2
  fi
done
((${#peers[@]})) || { echo "compare_torch.sh: PyTorch is missing; on Debian: apt-get install python3-torch" >&2; exit 1; }

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

# compare TASK PRESET BATCH STEPS: every program in turn, their lines of JSON to $lines.
compare() {
  local options=(--preset "$2" --batch "$3" --threads "$threads" --steps "$4" --warmup 1) round
  for ((round = 1; round <= rounds; ++round)); do
    echo "$1 $2, batch $3, round $round of $rounds" >&2
    if [[ $1 == sample ]]; then
      "$bin/bench_sample" "${options[@]}" --count "$3" --json
      for python in "${peers[@]}"; do "$python" -W ignore benchmarks/torch_ddpm_unet.py "${options[@]}" --sample; done
    else
      "$bin/bench_train_step" "${options[@]}" "${recompute[@]}" --json
      for python in "${peers[@]}"; do "$python" -W ignore benchmarks/torch_ddpm_unet.py "${options[@]}"; done
    fi
  done >>"$lines"
}

if [[ -n $preset ]]; then
  [[ $task == sample ]] && usual=50 || { [[ $preset == cifar10 ]] && usual=2 || usual=4; }
  [[ -n $batch ]] || { [[ $preset == cifar10 ]] && batch=8 || batch=64; }
  compare "$task" "$preset" "$batch" "${steps:-$usual}"
else
  compare train mnist "${batch:-64}" "${steps:-4}"
  compare train cifar10 "${batch:-8}" "${steps:-2}"
  compare sample mnist "${batch:-64}" "${steps:-50}"
fi
python3 benchmarks/torch_ratios.py "$lines" ${json:+--json "$json"}
