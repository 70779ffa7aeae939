#!/usr/bin/env bash
# From a bare Debian 12 machine to samples of a diffusion model trained on that machine, in a fixed time: installs
# the packages, builds, trains on Fashion-MNIST for what is left of the time, samples 64 images, measures them.
#   usage: scripts/quickstart.sh [OUT_DIR]          (default: out/quickstart)
#   ITO_QUICKSTART_MINUTES=M   minutes for everything, instead of 8; training gets at least one
#   ITO_QUICKSTART_STEPS=N     trains N steps, however long that takes
set -euo pipefail
export LC_ALL=C.UTF-8  # numbers with a point
SECONDS=0
cd "$(dirname "$0")/.."
case ${1:-} in
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "quickstart: unknown argument \"$1\"; --help says what there is" >&2; exit 2 ;;
esac
(($# <= 1)) || { echo "quickstart: one OUT_DIR; got $*" >&2; exit 2; }
out=${1:-out/quickstart}
minutes=${ITO_QUICKSTART_MINUTES:-8}
steps=${ITO_QUICKSTART_STEPS:-}
if ! [[ $minutes =~ ^[0-9]{1,5}$ ]] || ((10#$minutes < 1)); then
  echo "quickstart: ITO_QUICKSTART_MINUTES must be a whole number from 1 to 99999; got \"$minutes\"" >&2
  exit 2
fi
if [[ -n $steps ]] && { ! [[ $steps =~ ^[0-9]{1,9}$ ]] || ((10#$steps < 1)); }; then
  echo "quickstart: ITO_QUICKSTART_STEPS must be a whole number above 0; got \"$steps\"" >&2
  exit 2
fi
minutes=$((10#$minutes))
[[ -z $steps ]] || steps=$((10#$steps))
mkdir -p "$out" && [[ -w $out ]] || { echo "quickstart: cannot write into $out" >&2; exit 5; }
say() { printf '\n== %s\n' "$*"; }

say "packages"
scripts/install_packages.sh build
if scripts/install_packages.sh data && [[ -f /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]]; then
  dataset=fashion-mnist
else
  dataset=synthetic
  echo "The package dataset-fashion-mnist cannot be had here: training on the built-in synthetic shapes."
fi

say "build"
configured=$(cmake --preset release -DITO_BUILD_TESTS=OFF -DITO_BUILD_BENCHMARKS=OFF) || { echo "$configured"; exit 1; }
grep -E -- '--   (processor|CUDA) ' <<<"$configured" | sed 's/^--   //'
cmake --build build/release --target train_mnist train_classifier sample evaluate
bin=build/release/bin

say "train the judge: a small classifier, whose features tell how far samples are from real images"
begin=$SECONDS
"$bin/train_classifier" --dataset "$dataset" --steps 1200 --out "$out/classifier.safetensors" --overwrite --quiet
judge_seconds=$((SECONDS - begin + 1))

# In minutes instead of days, these differ from the paper: predicting v on the cosine schedule learns
# the tones of the images sooner than predicting epsilon, and groups of several channels let the first
# level of the network see the timestep. The rate rises and falls with the steps that the time allows.
recipe=(--batch 32 --predict v --schedule cosine --groups 8)
if [[ -n $steps ]]; then
  say "train on $dataset, $steps steps (curves and sample grids: $out/report.html)"
  budget=(--steps "$steps" --warmup $((steps / 40)) --lr-decay "$steps")
else
  # Sampling and measuring take two to three times as long as the judge did. A tenth stays free: a processor that is
  # busy for minutes becomes slower than the first steps, which are measured, let expect.
  seconds=$(((minutes * 60 - SECONDS - 3 * judge_seconds) * 9 / 10))
  if ((seconds < 60)); then
    echo "No more than a minute is left of $minutes: training gets one all the same."
    seconds=60
  fi
  say "train on $dataset for $((seconds / 60)) min $((seconds % 60)) s (curves and sample grids: $out/report.html)"
  budget=(--minutes "$(printf '%d.%03d' $((seconds / 60)) $((seconds % 60 * 1000 / 60)))")
fi
begin=$SECONDS
"$bin/train_mnist" --dataset "$dataset" --out "$out" --overwrite "${recipe[@]}" "${budget[@]}"
training_seconds=$((SECONDS - begin))

say "sample 64 images with DDIM"
"$bin/sample" --checkpoint "$out" --sampler ddim --steps 100 --eta 1 --count 64 --seed 1 \
  --out "$out/samples.png" --trajectory "$out/trajectory.png"

say "measure 500 more"
"$bin/evaluate" --checkpoint "$out" --classifier "$out/classifier.safetensors" --bound-images 0 --count 500 \
  --reference 5000 --sampler ddim --steps 20 --json "$out/evaluation.json" --quiet >"$out/evaluation.txt"

# Distances of the same recipe after so many images, and its floor (docs/results.md).
measured=("16000 3.72" "32000 2.19" "45000 1.48" "128000 0.82")
read -r distance floor noise rest < <(sed -n 's/.*"frechet": \([^,}]*\).*/\1/p' "$out/evaluation.json" | xargs)
number='^[0-9.]+(e[+-]?[0-9]+)?$'
images=$((32 * $(grep -o '"steps": [0-9]*' "$out/config.json" | grep -o '[0-9]*$')))

say "how good: distance from real images, by a proxy"
if ! [[ $distance =~ $number && $floor =~ $number && $noise =~ $number && -z $rest ]]; then
  echo "quickstart: $out/evaluation.json does not hold three distances" >&2
  exit 1
fi
printf '%-24s %8.2f\n' 'these samples' "$distance" 'other real images' "$floor" 'pure noise' "$noise"
echo "(Fréchet distance on the features of the small classifier: not the FID of papers.)"
if [[ $dataset == fashion-mnist ]]; then
  for row in "${measured[@]}"; do
    read -r more expected <<<"$row"
    ((more > images * 5 / 4)) || continue
    needed=$((training_seconds * more / images))
    printf 'With %d minutes of training instead of %d expect about %s (ITO_QUICKSTART_MINUTES=%d).\n' \
      $(((needed + 30) / 60)) $(((training_seconds + 30) / 60)) "$expected" \
      $(((SECONDS - training_seconds + needed + 59) / 60))
  done
fi

say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "samples     $out/samples.png"
echo "denoising   $out/trajectory.png (animated)"
echo "report      $out/report.html"
