#!/usr/bin/env bash
# sample, predict_noise, inspect and the report of a run.
source "$(dirname "$0")/common.sh"
run=$work/run
"$bin/train_mnist" "${tiny[@]}" --steps 20 --sample-every 10 --checkpoint-every 10 --out "$run"

# Equal seeds give equal files, whatever the threads; other seeds, samplers and weights do not.
draw() { "$bin/sample" --checkpoint "$run" --quiet --count 10 "$@"; }
draw --seed 3 --threads 1 --out "$work/a.png" --save "$work/a.safetensors" --trajectory "$work/t.png"
draw --seed 3 --threads 3 --out "$work/b.png" --save "$work/b.safetensors"
cmp "$work/a.png" "$work/b.png" || fail "sample is not repeatable"
cmp "$work/a.safetensors" "$work/b.safetensors" || fail "sample --save is not repeatable"
draw --seed 4 --out "$work/c.png"
cmp -s "$work/a.png" "$work/c.png" && fail "the seed has no effect"
draw --seed 3 --raw --out "$work/d.png"
cmp -s "$work/a.png" "$work/d.png" && fail "--raw has no effect"
draw --seed 3 --sampler ddpm --out "$work/e.png"
cmp -s "$work/a.png" "$work/e.png" && fail "--sampler has no effect"
draw --seed 3 --eta 1 --steps 20 --out "$work/f.png"

# The image does not depend on how the work is cut into batches.
draw --seed 3 --sampler ddpm --steps 20 --batch 10 --save "$work/one.safetensors" --out "$work/g.png"
draw --seed 3 --sampler ddpm --steps 20 --batch 3 --save "$work/four.safetensors" --out "$work/h.png"
"$bin/compare_tensors" "$work/one.safetensors" "$work/four.safetensors" samples samples 1e-4

# On the device: the CPU's images but for rounding, and a recorded step changes no bit of them.
if draw --device cuda --out "$work/probe.png" 2>"$work/no_device"; then
  for sampler in ddpm ddim; do
    draw --seed 3 --sampler $sampler --device cpu --out "$work/k.png" --save "$work/cpu.safetensors"
    draw --seed 3 --sampler $sampler --device cuda --batch 7 --out "$work/k.png" \
      --save "$work/device.safetensors" --trajectory "$work/k.apng.png"
    draw --seed 3 --sampler $sampler --device cuda --batch 7 --no-graph --out "$work/k.png" \
      --save "$work/one_by_one.safetensors"
    cmp "$work/device.safetensors" "$work/one_by_one.safetensors" || fail "--no-graph changes the images"
    "$bin/compare_tensors" "$work/cpu.safetensors" "$work/device.safetensors" samples samples 1e-4
    draw --seed 3 --sampler $sampler --device cuda --dtype bf16 --out "$work/k.png" \
      --save "$work/bf16.safetensors"
    cmp -s "$work/device.safetensors" "$work/bf16.safetensors" && fail "--dtype has no effect"
  done
else
  echo "SKIPPED on the device: $(cat "$work/no_device")"
fi
expect 2 "--dtype bf16 needs --device cuda" \
  "$bin/sample" --checkpoint "$run" --device cpu --dtype bf16

# A checkpoint directory and a single file will do; the picture says where it came from.
"$bin/sample" --checkpoint "$run/checkpoints/step_000020" --quiet --count 10 --seed 3 --out "$work/i.png"
cp "$run/checkpoints/latest/ema.safetensors" "$work/alone.safetensors"
"$bin/sample" --checkpoint "$work/alone.safetensors" --quiet --count 10 --seed 3 --out "$work/j.png"
cmp "$work/a.png" "$work/i.png" || fail "a checkpoint directory gives another picture"
cmp "$work/a.png" "$work/j.png" || fail "a single file gives another picture"
"$bin/inspect" "$work/a.png" >"$work/text"
for text in 'seed = 3' 'step = 20' 'sampler = ddim' 'weights = ema' 'checkpoint = '; do
  grep -q "$text" "$work/text" || fail "the picture lacks: $text"
done
"$bin/inspect" "$work/t.png" | grep -q 'frames' || fail "the trajectory is not animated"
"$bin/inspect" "$run" | grep -q 'checkpoint of step 20, complete' || fail "inspect of a run"
"$bin/inspect" "$run/checkpoints/latest/model.safetensors" | grep -q 'conv_in.weight' ||
  fail "inspect of a safetensors file"
expect 2 "--steps must be at most 20, the timesteps of this model; got 21" \
  "$bin/sample" --checkpoint "$run" --steps 21

# predict_noise: the library, called directly, says the same.
"$bin/make_noise_input" "$run" "$work/in.safetensors" "$work/expected.safetensors"
"$bin/predict_noise" --checkpoint "$run" --input "$work/in.safetensors" --device cpu \
  --output "$work/out.safetensors"
"$bin/compare_tensors" "$work/expected.safetensors" "$work/out.safetensors" eps_hat eps_hat 0
"$bin/predict_noise" --checkpoint "$run" --input "$work/in.safetensors" --batch 2 \
  --output "$work/out2.safetensors"
"$bin/compare_tensors" "$work/expected.safetensors" "$work/out2.safetensors" eps_hat eps_hat 1e-4
expect 3 "no tensor named" "$bin/predict_noise" --checkpoint "$run" --input "$work/a.safetensors" \
  --output "$work/never.safetensors"

# The report: one page, nothing outside it, and the pictures are there.
report=$run/report.html
if grep -oE '(src|href|url)[[:space:]]*[=(][^>]{0,60}' "$report" | grep -v 'data:image/png;base64'; then
  fail "the report refers to something outside itself"
fi
if grep -oE 'https?://[^"'"'"' <]*' "$report" | grep -v '^http://www.w3.org/2000/svg$'; then
  fail "the report has an address in it"
fi
[[ $(grep -c '<svg' "$report") -ge 1 && $(grep -o '<polyline' "$report" | wc -l) -ge 6 ]] ||
  fail "the report lacks curves"
[[ $(grep -o 'data:image/png;base64,' "$report" | wc -l) == 3 ]] || fail "the report lacks pictures"
for tag in svg figure table div pre body html; do
  [[ $(grep -o "<$tag[ >]" "$report" | wc -l) == $(grep -o "</$tag>" "$report" | wc -l) ]] ||
    fail "the report's <$tag> are not closed"
done
echo "passed"
