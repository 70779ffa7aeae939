#!/usr/bin/env bash
# train_classifier: its file, its report, its errors.
source "$(dirname "$0")/common.sh"
train() { "$bin/train_classifier" --dataset synthetic --channels 8 --batch 16 --steps 12 "$@"; }

# Equal seeds give equal files, whatever the threads; another seed and noisy inputs do not.
train --quiet --seed 3 --threads 1 --out "$work/a.safetensors"
train --quiet --seed 3 --threads 3 --out "$work/b.safetensors"
cmp "$work/a.safetensors" "$work/b.safetensors" || fail "train_classifier is not repeatable"
train --quiet --seed 4 --out "$work/c.safetensors"
cmp -s "$work/a.safetensors" "$work/c.safetensors" && fail "the seed has no effect"
train --inputs noisy --schedule cosine --timesteps 50 --out "$work/new/d.safetensors" >"$work/report"
"$bin/inspect" --all "$work/new/d.safetensors" >"$work/text"
for text in 'classifier' 'cosine' 'noisy' 'down_blocks.1.resnets.0.conv1.weight' 'head.weight'; do
  grep -q -- "$text" "$work/text" || fail "inspect of a classifier lacks: $text"
done

# The report: the clean images, then eleven strengths of noise from the least to pure noise.
grep -q '^test accuracy, clean images  0\.[0-9]*$' "$work/report" || fail "no accuracy of clean images"
[[ $(grep -cE '^ +[0-9]+ +[0-9.]+ +[01]\.[0-9]+$' "$work/report") == 11 ]] || fail "not eleven strengths"
grep -qE '^ +49 +0\.0' "$work/report" || fail "the last timestep is missing"

expect 2 "--schedule and --timesteps belong to --inputs noisy" train --schedule cosine
expect 2 "--channels must be a multiple of 8; got 12" train --channels 12
expect 3 "nowhere" "$bin/train_classifier" --data "$work/nowhere" --quiet

# It leads a model that knows no classes: to the class that is asked for, and not at all at scale 0.
"$bin/train_mnist" "${tiny[@]}" --steps 6 --image-size 28 --attention 14 --out "$work/run"
train --quiet --inputs noisy --timesteps 20 --out "$work/lead.safetensors"
draw() {
  "$bin/sample" --checkpoint "$work/run" --quiet --count 4 --steps 5 --out "$work/$1.png" \
    --save "$work/$1.s" "${@:2}"
}
lead=(--classifier "$work/lead.safetensors")
draw free
draw none "${lead[@]}" --class 3 --guidance 0
"$bin/compare_tensors" "$work/free.s" "$work/none.s" samples samples 0
draw three "${lead[@]}" --class 3 --guidance 50
draw four "${lead[@]}" --class triangle --guidance 50
draw again "${lead[@]}" --class 4 --guidance 50 --batch 3
cmp -s "$work/free.s" "$work/three.s" && fail "--classifier has no effect"
cmp -s "$work/three.s" "$work/four.s" && fail "--class has no effect"
"$bin/compare_tensors" "$work/four.s" "$work/again.s" samples samples 1e-4
"$bin/inspect" "$work/four.png" | grep -q 'classifier = ' || fail "the picture lacks the classifier"

expect 2 "--classifier leads to a class: it needs --class" draw x "${lead[@]}"
expect 2 '--class must be all, a number from 0 to 9 or one of disc' draw x "${lead[@]}" --class 10
expect 6 "must know the noisy images of this model, 28 x 28 x 1 with 20 linear timesteps; got clean" \
  draw x --classifier "$work/a.safetensors" --class 3
expect 6 "with 50 cosine" draw x --classifier "$work/new/d.safetensors" --class 3
expect 6 "No such file or directory" draw x --classifier "$work/nowhere" --class 3
expect 6 "no classifier in its metadata" draw x --classifier "$work/run/checkpoints/latest/ema.safetensors" --class 3
