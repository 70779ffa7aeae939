#!/usr/bin/env bash
# train_points: repeatable, its file brings the model back, and what users get wrong.
source "$(dirname "$0")/common.sh"
points() { "$bin/train_points" --count 200 "$@"; }
small=(--steps 30 --batch 32 --width 16 --layers 1 --timesteps 20)

points "${small[@]}" --points moons --seed 3 --threads 1 --out "$work/a.svg" \
  --save "$work/new/model.safetensors" >"$work/a.txt" 2>/dev/null
points "${small[@]}" --points moons --seed 3 --threads 3 --out "$work/b.svg" >"$work/b.txt" 2>/dev/null
cmp "$work/a.svg" "$work/b.svg" || fail "train_points depends on the threads"
points --load "$work/new/model.safetensors" --seed 3 --out "$work/c.svg" >"$work/c.txt"
cmp "$work/a.svg" "$work/c.svg" || fail "--load draws other points than the run that saved"
points --load "$work/new/model.safetensors" --seed 4 --out "$work/d.svg" >/dev/null
cmp -s "$work/a.svg" "$work/d.svg" && fail "the seed has no effect"
for sampler in ddpm ddim euler heun dpmpp2m unipc; do
  grep -q "^$sampler " "$work/c.txt" || fail "the table lacks $sampler"
  grep -q "$sampler, " "$work/c.svg" || fail "the picture lacks $sampler"
done
[[ $(grep -o '<path' "$work/a.svg" | wc -l) == 8 ]] || fail "the picture has not eight panels"

# Every set, every prediction, and a schedule of noise levels.
points "${small[@]}" --points swiss-roll --predict edm --schedule karras --out "$work/e.svg" --quiet
points "${small[@]}" --points checkerboard --predict x0 --schedule jsd --out "$work/f.svg" --quiet
points "${small[@]}" --predict epsilon --schedule linear --out "$work/g.svg" --quiet >"$work/quiet"
[[ ! -s $work/quiet ]] || fail "--quiet prints"

expect 2 "--points must be one of" "$bin/train_points" --points circle
expect 2 "--steps belongs to training; --load brings a trained model" \
  "$bin/train_points" --load "$work/new/model.safetensors" --steps 5
expect 2 "needs --predict v" "$bin/train_points" --schedule jsd --predict epsilon --out "$work/h.svg"
expect 2 "--sample-steps must be at most 20, the timesteps of the model; got 21" \
  "$bin/train_points" --load "$work/new/model.safetensors" --sample-steps 21
expect 5 "$work/new/model.safetensors/a.svg" "$bin/train_points" --load "$work/new/model.safetensors" \
  --count 50 --out "$work/new/model.safetensors/a.svg"
expect 6 "No such file or directory" "$bin/train_points" --load "$work/none"
"$bin/train_mnist" "${tiny[@]}" --steps 1 --out "$work/run"
expect 6 "no point_model in its metadata" \
  "$bin/train_points" --load "$work/run/checkpoints/latest/model.safetensors"
head -c 300 "$work/new/model.safetensors" >"$work/cut.safetensors"
expect 6 "cut.safetensors" "$bin/train_points" --load "$work/cut.safetensors"
echo "passed"
