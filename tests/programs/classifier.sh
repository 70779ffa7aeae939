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
