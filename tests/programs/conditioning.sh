#!/usr/bin/env bash
# Training on classes: what is learnt, continued, refused.
source "$(dirname "$0")/common.sh"
train=("$bin/train_mnist" "${tiny[@]}" --class-conditional)

# Stopped and continued, forgotten labels included: byte for byte.
"${train[@]}" --steps 14 --drop-class 0.5 --out "$work/whole"
"${train[@]}" --steps 5 --drop-class 0.5 --out "$work/half"
"${train[@]}" --steps 14 --drop-class 0.5 --out "$work/half" --resume auto
same_run "$work/whole" "$work/half"
"${train[@]}" --steps 14 --drop-class 0 --out "$work/told"
cmp -s "$work/told/metrics.jsonl" "$work/whole/metrics.jsonl" && fail "--drop-class has no effect"
"$bin/inspect" "$work/whole/checkpoints/latest/ema.safetensors" >"$work/text"
grep -q 'class_embedding.weight' "$work/text" || fail "the network has no classes"
"$bin/inspect" "$work/whole/samples/step_000014.png" | grep -q 'columns = classes' ||
  fail "the grid has no classes"
# Without a class any sampler still works: the null class.
"$bin/sample" --checkpoint "$work/whole" --quiet --count 4 --steps 3 --out "$work/a.png"

# Another run is not continued with classes, nor this one without.
expect 6 "class_conditional: true in the checkpoint, false now" \
  "$bin/train_mnist" "${tiny[@]}" --steps 20 --out "$work/whole" --resume auto
expect 6 "drop_class: 0.5 in the checkpoint, 0.1 now" \
  "${train[@]}" --steps 20 --out "$work/whole" --resume auto

# Flags that do not go together, images without labels.
expect 2 "--drop-class belongs to --class-conditional" "$bin/train_mnist" --drop-class 0.2
mkdir "$work/images"
cp "$work/a.png" "$work/images/one.png"
expect 2 "--class-conditional needs labels" "${train[@]}" --dataset folder --data "$work/images" \
  --batch 1 --out "$work/never"
echo "passed"
