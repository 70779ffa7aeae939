#!/usr/bin/env bash
# From a bare Debian 12 machine to samples of a diffusion model trained on that machine: installs the
# packages, builds, trains on Fashion-MNIST on the CPU, samples 64 images. About 15 minutes on 2 cores.
#   usage: scripts/quickstart.sh [OUT_DIR]          (default: out/quickstart)
#   ITO_QUICKSTART_STEPS=N trains N steps instead of the default
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/quickstart}
steps=${ITO_QUICKSTART_STEPS:-4200}
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
cuda=(-DITO_CUDA=OFF)
if scripts/gpu_answers.sh; then
  cuda=(-DITO_CUDA=AUTO -DCMAKE_CUDA_ARCHITECTURES=native)
  echo "An NVIDIA GPU answers: with the CUDA backend where nvcc is installed."
else
  echo "No NVIDIA GPU answers: without the CUDA backend."
fi
cmake --preset release -DITO_BUILD_TESTS=OFF -DITO_BUILD_BENCHMARKS=OFF "${cuda[@]}" >/dev/null
cmake --build build/release --target train_mnist sample

say "train on $dataset, $steps steps (curves and sample grids: $out/report.html)"
# In minutes instead of days, these differ from the paper: predicting v on the cosine schedule learns
# the tones of the images sooner than predicting epsilon, groups of several channels let the first
# level of the network see the timestep, and a rate that falls to 0 lets the last steps settle.
build/release/bin/train_mnist --dataset "$dataset" --out "$out" --overwrite --steps "$steps" \
  --batch 32 --warmup $((steps / 40)) --lr-decay "$steps" --predict v --schedule cosine --groups 8

say "sample 64 images with DDIM"
build/release/bin/sample --checkpoint "$out" --sampler ddim --steps 100 --eta 1 --count 64 --seed 1 \
  --out "$out/samples.png" --trajectory "$out/trajectory.png"

say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "samples     $out/samples.png"
echo "denoising   $out/trajectory.png (animated)"
echo "report      $out/report.html"
