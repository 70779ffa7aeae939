#!/usr/bin/env bash
# compress and decompress: two processes that share a model and a file.
source "$(dirname "$0")/common.sh"
run=$work/run
"$bin/train_mnist" "${tiny[@]}" --steps 20 --sample-every 20 --checkpoint-every 20 --out "$run"
"$bin/train_mnist" "${tiny[@]}" --steps 20 --sample-every 20 --checkpoint-every 20 --seed 1 --out "$work/other"

# Six samples stand for images of the model's size.
"$bin/sample" --checkpoint "$run" --quiet --count 6 --seed 3 --save "$work/six.safetensors" --out "$work/six.png"
mkdir "$work/in"
for seed in 1 2 3 4 5 6; do
  "$bin/sample" --checkpoint "$run" --quiet --count 1 --seed $seed --scale 1 --out "$work/in/$seed.png"
done
squeeze() { "$bin/compress" --checkpoint "$run" --quiet --steps 6 --block-bits 6 "$@"; }
restore() { "$bin/decompress" --checkpoint "$run" --quiet "$@"; }

# Every pixel comes back in another process, whatever the threads of either.
squeeze "$work/in" --group 4 --threads 1 --out "$work/a.ito" --curve "$work/a.csv" --plot "$work/a.svg"
squeeze "$work/in" --group 4 --threads 3 --out "$work/b.ito"
cmp "$work/a.ito" "$work/b.ito" || fail "the file depends on the threads"
restore "$work/a.ito" --threads 3 --out "$work/back" --grid "$work/grid.png"
for n in 0 1 2 3 4 5; do
  "$bin/crop_png" "$work/in/$((n + 1)).png" 0 8 "$work/before.png"
  "$bin/crop_png" "$work/back/00000$n.png" 0 8 "$work/after.png"
  cmp "$work/before.png" "$work/after.png" || fail "image $n is not what it was"
done
[[ $(wc -l <"$work/a.csv") == 8 ]] || fail "the curve lacks steps"
grep -q '<polyline' "$work/a.svg" || fail "the plot lacks a curve"
squeeze "$work/in/1.png" --variance beta --seed 9 --out "$work/one.ito"
restore "$work/one.ito" --out "$work/one.png"
"$bin/crop_png" "$work/one.png" 0 8 "$work/after.png"
"$bin/crop_png" "$work/in/1.png" 0 8 "$work/before.png"
cmp "$work/before.png" "$work/after.png" || fail "a single image is not what it was"

# Without the last steps the file is smaller and the images are near.
squeeze "$work/in" --leave-out 2 --out "$work/near.ito"
restore "$work/near.ito" --out "$work/near"
[[ $(stat -c %s "$work/near.ito") -lt $(stat -c %s "$work/a.ito") ]] || fail "--leave-out saves nothing"

# On the device too; the CPU computes other bits and says so instead of decoding garbage.
if squeeze "$work/in" --device cuda --out "$work/device.ito" 2>"$work/no_device"; then
  restore "$work/device.ito" --device cuda --out "$work/there"
  for n in 0 5; do
    cmp "$work/back/00000$n.png" "$work/there/00000$n.png" || fail "image $n of the device is not what it was"
  done
  expect 3 "made by another build, machine or device" restore "$work/device.ito" --out "$work/never"
else
  echo "SKIPPED on the device: $(cat "$work/no_device")"
fi

# Other networks, damaged files and unsuitable images are refused.
expect 3 "made with another network" \
  "$bin/decompress" --checkpoint "$work/other" "$work/a.ito" --out "$work/never"
head -c 60 "$work/a.ito" >"$work/short.ito"
expect 3 "damaged: its checksum does not agree" restore "$work/short.ito" --out "$work/never"
expect 3 "not an .ito file" restore "$work/six.png" --out "$work/never"
expect 3 "the model's images are 8 x 8 with 1 channels" squeeze "$work/six.png" --out "$work/never.ito"
expect 3 "no such file or directory" squeeze "$work/nothing.png" --out "$work/never.ito"
expect 2 "either IMAGES or --dataset" squeeze --out "$work/never.ito"
expect 2 "--steps must be at most 20" squeeze "$work/in" --steps 21 --out "$work/never.ito"
expect 2 "--leave-out must be at most --steps" squeeze "$work/in" --leave-out 7 --out "$work/never.ito"
expect 2 "--out or --grid" restore "$work/a.ito"
expect 2 "must be a folder" restore "$work/a.ito" --out "$work/never.png"
[[ ! -e $work/never.ito && ! -e $work/never && ! -e $work/never.png ]] || fail "wrote after an error"
echo "passed"
