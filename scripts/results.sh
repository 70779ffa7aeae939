#!/usr/bin/env bash
# Makes every figure of docs/results.md, from the data to the grids: trains the classifier and both
# models on Fashion-MNIST, draws the pictures, measures. What is there already is not made again, so a
# stopped run goes on where it was.
#   usage: scripts/results.sh [--out DIR] [--docs]
#     --out DIR    where everything goes (default: out/results)
#     --docs       then put pictures and numbers into docs/
#   ITO_RESULTS_STEPS=N      trains both models N steps instead of 2000 and 3000
#   ITO_RESULTS_SAMPLES=N    compares N samples instead of 500
#   ITO_RESULTS_IMAGES=N     measures the bits of N images instead of 50
#   ITO_RESULTS_THREADS=N    uses N threads instead of all
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }
out=out/results docs=0
while (($#)); do
  case $1 in
    --out) (($# > 1)) || { usage >&2; exit 2; }; out=$2; shift ;;
    --docs) docs=1 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "results: unknown argument \"$1\"" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
samples=${ITO_RESULTS_SAMPLES:-500}
bin=build/release/bin
images=${ITO_RESULTS_IMAGES:-50}
threads=(--threads "${ITO_RESULTS_THREADS:-0}")
mkdir -p "$out"
say() { printf '\n== %s\n' "$*"; }

# once FILE COMMAND...: runs the command unless FILE is there, and notes how long it took.
once() {
  local name=$1 file=$out/$1 begin=$SECONDS
  shift
  [[ -e $file ]] && return
  say "$*"
  "$@"
  [[ -e $file ]] || { echo "results: $file was not made" >&2; exit 1; }
  printf '%-24s %5d s\n' "$name" $((SECONDS - begin)) >>"$out/times.txt"
}

say "packages and programs"
scripts/install_packages.sh build
scripts/install_packages.sh data
[[ -f build/release/CMakeCache.txt ]] || cmake --preset release -DITO_BUILD_TESTS=OFF -DITO_BUILD_BENCHMARKS=OFF
cmake --build build/release --target train_mnist train_classifier sample evaluate

# The classifier sees clean images only: it judges.
once classifier.safetensors "$bin/train_classifier" --dataset fashion-mnist "${threads[@]}" \
  --out "$out/classifier.safetensors" --resume auto

# train RUN STEPS FLAG...: a run that was stopped goes on.
train() {
  local run=$1 steps=${ITO_RESULTS_STEPS:-$2}
  shift 2
  once "$run/finished" train_to_the_end "$out/$run" "$steps" "$@"
}
train_to_the_end() {
  local run=$1 steps=$2 resume=()
  shift 2
  [[ -d $run/checkpoints ]] && resume=(--resume auto)
  "$bin/train_mnist" --dataset fashion-mnist --out "$run" --steps "$steps" --batch 64 --predict v \
    --schedule cosine --groups 8 --sample-every 1000 "${threads[@]}" "${resume[@]}" "$@"
  touch "$run/finished"
}
train unconditional 2000 --ema 0.999
train conditional 3000 --ema 0.999 --class-conditional --drop-class 0.1

# grid NAME RUN FLAG...: 64 images from the same noise.
grid() {
  local name=$1 run=$2
  shift 2
  once "$name.png" "$bin/sample" --checkpoint "$out/$run" --count 64 --seed 1 --scale 1 "${threads[@]}" \
    --out "$out/$name.png" "$@"
}
grid ddpm_1000 unconditional --sampler ddpm
for n in 5 10 20 50; do grid "ddim_$n" unconditional --sampler ddim --steps "$n"; done
grid ddpm_20 unconditional --sampler ddpm --steps 20 --variance beta-tilde
grid euler_20 unconditional --sampler euler --steps 20
grid heun_10 unconditional --sampler heun --steps 10
grid dpmpp2m_20 unconditional --sampler dpmpp2m --steps 20
grid unipc_20 unconditional --sampler unipc --steps 20

# measure NAME RUN FLAG...: proxy distances of samples; the pictures are the first of those measured.
measure() {
  local name=$1 run=$2
  shift 2
  once "$name.txt" measured "$name" --checkpoint "$out/$run" --bound-images 0 \
    --classifier "$out/classifier.safetensors" --count "$samples" --picture "$out/$name.png" "$@"
}
measured() {
  local name=$1
  shift
  "$bin/evaluate" --seed 1 "${threads[@]}" --json "$out/$name.json" "$@" >"$out/$name.part"
  mv "$out/$name.part" "$out/$name.txt"
}
for n in 5 10 20 50; do measure "distance_ddim_$n" unconditional --sampler ddim --steps "$n"; done
for g in 0 1 3; do measure "guidance_$g" conditional --sampler ddim --steps 25 --guidance "$g"; done
for run in unconditional conditional; do
  once "bound_$run.txt" measured "bound_$run" --checkpoint "$out/$run" --bound-images "$images"
done

# table FILE NAME...: the lines of several measurements under one heading.
table() {
  local file=$out/$1 name
  shift
  sed -n '/^proxy distances/,/precision  recall/p' "$out/$1.txt" >"$file"
  for name in "$@"; do sed -n '/^  samples/p' "$out/$name.txt"; done >>"$file"
  sed -n '/^  floor/p; /^  pure noise/p' "$out/$1.txt" >>"$file"
}
table distances.txt distance_ddim_{5,10,20,50}
table guidance.txt guidance_{0,1,3}
say "results in $out"
cat "$out"/{bound_unconditional,bound_conditional,distances,guidance,times}.txt

((docs)) || exit 0
say "docs/results.md and docs/images/results"
mkdir -p docs/images/results
cp "$out"/{ddpm_1000,ddim_5,ddim_10,ddim_20,ddim_50,ddpm_20,euler_20,heun_10,dpmpp2m_20,unipc_20}.png \
  "$out"/guidance_{0,1,3}.png docs/images/results/
# A block of the page begins with <!-- results: NAME --> and ends with <!-- end -->.
for name in bound_unconditional bound_conditional distances guidance times; do
  awk -v begin="<!-- results: $name -->" -v file="$out/$name.txt" '
    $0 == begin { print; print "```text"; while ((getline line < file) > 0) print line; print "```"; skip = 1 }
    $0 == "<!-- end -->" { skip = 0 }
    !skip
  ' docs/results.md >"$out/page.md"
  cp "$out/page.md" docs/results.md
done
