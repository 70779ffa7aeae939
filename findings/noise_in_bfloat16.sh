#!/usr/bin/env bash
# DDPMScheduler.add_noise of diffusers 0.42.1 rounds alphas_cumprod to the dtype of the images before it takes
# sqrt(1 - alphas_cumprod). With the default schedule (linear, 1000 steps) bfloat16 images get no noise at all in
# the first 10 timesteps, float16 images in the first 2; float32 images get some in each (0.0100 at the first).
# A training loop that casts images to bfloat16 first asks its network there for noise that is not in the input.
# Seen with torch 2.15.0 on the CPU, on images of zeros with noise of ones, so that the result is the factor itself:
#   float32   timesteps without noise: 0, first factors 0.0100, 0.0148, 0.0190
#   bfloat16  timesteps without noise: 10, first factors 0.0000, 0.0000, 0.0000
#   float16   timesteps without noise: 2, first factors 0.0000, 0.0000, 0.0221
# The installation takes some gigabytes in the temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q torch==2.15.0 diffusers==0.42.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from diffusers import DDPMScheduler

scheduler = DDPMScheduler()
without = {}
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    factor = scheduler.add_noise(torch.zeros(1000, dtype=dtype), torch.ones(1000, dtype=dtype), torch.arange(1000))
    name = str(dtype).removeprefix("torch.")
    without[name] = int((factor == 0).sum())
    first = ", ".join(f"{x:.4f}" for x in factor[:3].tolist())
    print(f"{name:9} timesteps without noise: {without[name]}, first factors {first}")
raise SystemExit(without != {"float32": 0, "bfloat16": 10, "float16": 2})
PYTHON
