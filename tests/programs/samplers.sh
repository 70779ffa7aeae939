#!/usr/bin/env bash
# sample: every sampler by name, classes and guidance, interpolation, inversion, what excludes what.
source "$(dirname "$0")/common.sh"
run=$work/run
"$bin/train_mnist" "${tiny[@]}" --class-conditional --steps 20 --out "$run"
draw() { "$bin/sample" --checkpoint "$run" --quiet --count 6 --seed 3 "$@"; }
keep() { draw --out "$work/$1.png" --save "$work/$1.safetensors" "${@:2}"; }
samples_differ() { ! cmp -s "$work/$1.safetensors" "$work/$2.safetensors"; }

# --list needs no model, and names each sampler with its order and source.
"$bin/sample" --list >"$work/list"
for text in ddpm ddim euler heun dpmpp2m unipc 2206.00364 2211.01095 2302.04867; do
  grep -q "$text" "$work/list" || fail "--list lacks $text"
done
[[ $(wc -l <"$work/list") == 8 ]] || fail "--list has not a line for each sampler"

# All run, are repeatable, do not depend on batches, and write down what they did.
for sampler in ddpm ddim euler heun dpmpp2m unipc; do
  keep $sampler --sampler $sampler --steps 7
  keep again --sampler $sampler --steps 7 --batch 4 --threads 1
  "$bin/compare_tensors" "$work/$sampler.safetensors" "$work/again.safetensors" samples samples 1e-4
  "$bin/inspect" "$work/$sampler.png" | grep -q "sampler = $sampler, 7 steps" ||
    fail "the picture does not name $sampler"
done
"$bin/compare_tensors" "$work/ddim.safetensors" "$work/unipc.safetensors" x_T x_T 0
keep karras --sampler ddim --steps 7 --spacing karras
"$bin/compare_tensors" "$work/karras.safetensors" "$work/euler.safetensors" samples samples 1e-4
samples_differ ddim karras || fail "--spacing has no effect"
keep churn --sampler heun --steps 7 --churn 3
samples_differ heun churn || fail "--churn has no effect"
keep quadratic --spacing quadratic --steps 7
keep logsnr --sampler dpmpp2m --spacing log-snr --steps 7
keep threshold --steps 7 --threshold 0.9
samples_differ ddim threshold || fail "--threshold has no effect"

# Classes: by number and by name, all in turn; guidance 0 is no class, 1 the class.
keep three --class 3 --steps 7
samples_differ ddim three || fail "--class has no effect"
keep none --class 3 --guidance 0 --steps 7
"$bin/compare_tensors" "$work/ddim.safetensors" "$work/none.safetensors" samples samples 1e-5
keep one --class 3 --guidance 1 --steps 7
"$bin/compare_tensors" "$work/three.safetensors" "$work/one.safetensors" samples samples 0
keep strong --class 3 --guidance 4 --steps 7 --sampler unipc
keep all --class all --steps 7
samples_differ three all || fail "--class all is --class 3"
"$bin/inspect" "$work/strong.png" | grep -q 'guidance = 4' || fail "the picture lacks the guidance"

# From one image to another: the ends are the images themselves.
"$bin/sample" --checkpoint "$run" --quiet --seed 3 --steps 7 --interpolate 0,5 --count 3 \
  --out "$work/path.png" --save "$work/path.safetensors"
"$bin/sample" --checkpoint "$run" --quiet --seed 3 --steps 7 --interpolate 5,0 --count 3 \
  --out "$work/path.png" --save "$work/path_back.safetensors"
cmp -s "$work/path.safetensors" "$work/path_back.safetensors" && fail "--interpolate has no direction"
"$bin/sample" --checkpoint "$run" --quiet --seed 3 --steps 7 --count 1 --out "$work/first.png" \
  --save "$work/first.safetensors" --scale 1
"$bin/sample" --checkpoint "$run" --quiet --seed 3 --steps 7 --interpolate 0,1 --count 2 \
  --out "$work/ends.png"
"$bin/sample" --checkpoint "$run" --quiet --seed 3 --steps 7 --count 2 --out "$work/two.png"
cmp "$work/ends.png" "$work/two.png" || fail "the ends of --interpolate are not the images"
"$bin/sample" --checkpoint "$run" --seed 3 --steps 20 --interpolate "$work/first.png",4 --count 4 \
  --out "$work/from_file.png" --trajectory "$work/from_file.apng.png" 2>/dev/null

# There and back.
"$bin/sample" --checkpoint "$run" --steps 20 --invert "$work/first.png" --out "$work/back.png" \
  --save "$work/back.safetensors" 2>"$work/text"
grep -q 'comes back with a mean squared error of' "$work/text" || fail "--invert says nothing"
"$bin/sample" --checkpoint "$run" --steps 20 --sampler heun --class 2 --invert "$work/first.png" \
  --out "$work/back.png" --quiet
"$bin/sample" --checkpoint "$run" --invert "$work/first.png" --out "$work/back.png" --quiet

# What does not go together says so, and what would.
refuse() { expect 2 "$1" "$bin/sample" --checkpoint "$run" "${@:2}"; }
refuse "--sampler must be one of ddpm, ddim, euler, heun, dpmpp2m, unipc; got plms" --sampler plms
refuse "--churn belongs to --sampler heun; got --sampler ddim" --churn 1
refuse "--variance belongs to --sampler ddpm; got --sampler unipc" --sampler unipc --variance beta
refuse "--variance learned: this model learned none" --sampler ddpm --variance learned
refuse "choose one" --threshold 0.99 --no-clip
refuse "it needs --class" --guidance 3
refuse "--class must be all, a number from 0 to" --class 99
refuse "--interpolate must be A,B" --interpolate 3
refuse "--interpolate must be A,B" --interpolate 3,x
refuse "exclude each other" --interpolate 1,2 --invert "$work/first.png"
refuse "--count must be at least 2" --interpolate 1,2 --count 1
refuse "it takes no --count" --invert "$work/first.png" --count 3
refuse "needs a sampler without noise of its own" --invert "$work/first.png" --sampler ddpm
refuse "needs a sampler without noise of its own" --interpolate 1,2 --eta 0.5
refuse "name one class" --interpolate 1,2 --class all
expect 3 "this model draws 8 x 8 pixels; the file has" "$bin/sample" --checkpoint "$run" \
  --invert "$work/path.png"
expect 3 "none.png" "$bin/sample" --checkpoint "$run" --invert "$work/none.png"
"$bin/train_mnist" "${tiny[@]}" --steps 2 --out "$work/plain"
expect 2 "was trained without classes" "$bin/sample" --checkpoint "$work/plain" --class 1
echo "passed"
