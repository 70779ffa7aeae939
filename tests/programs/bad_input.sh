#!/usr/bin/env bash
# What users get wrong: the exit code, and a text that names the flag, the rule and what was got.
source "$(dirname "$0")/common.sh"
train=$bin/train_mnist
out=$work/out

# Flags: exit code 2.
expect 2 "--lr must be a number above 0 and up to 1; got 0" "$train" --lr 0
expect 2 "--lr must be a number above 0 and up to 1; got nan" "$train" --lr nan
expect 2 "--lr must be a number above 0 and up to 1; got inf" "$train" --lr inf
expect 2 "--lr must be a number above 0 and up to 1; got 1e400" "$train" --lr 1e400
expect 2 "--lr must be a number above 0 and up to 1; got 1,5" "$train" --lr 1,5
expect 2 "--lr-decay must be above --warmup; got 50 and 100" "$train" --warmup 100 --lr-decay 50
expect 2 "--batch must be a whole number from 1 to 1048576; got 0" "$train" --batch 0
expect 2 "--batch must be a whole number from 1 to 1048576; got 8x" "$train" --batch 8x
expect 2 "--batch must be a whole number from 1 to 1048576; got 99999999999999999999" \
  "$train" --batch 99999999999999999999
expect 2 "--timesteps must be a whole number from 2 to 100000; got 1" "$train" --timesteps 1
expect 2 "--schedule must be one of linear, " "$train" --schedule sine
expect 2 "--schedule jsd leaves nothing of the image at the last timestep" "$train" --schedule jsd
expect 2 "timesteps must be at least 21; got 20" \
  "$train" --schedule linear-rescaled --timesteps 20
expect 2 "--multipliers must be 1 to 8 numbers separated by commas" "$train" --multipliers 1,,2
expect 2 "--dataset must be one of" "$train" --dataset imagenet
expect 2 "(did you mean synthetic?)" "$train" --dataset syntetic
expect 2 "unknown argument --bathc; did you mean --batch?" "$train" --bathc 3
expect 2 "unknown argument frobnicate" "$train" frobnicate
expect 2 "--steps needs a value" "$train" --steps
expect 2 "--quiet must be true or false; got maybe" "$train" --quiet=maybe
expect 2 "exclude each other" "$train" --resume auto --overwrite
expect 2 "--dataset folder needs --data DIR" "$train" --dataset folder
expect 2 "--sample-steps must be at most --timesteps" \
  "$train" --timesteps 10 --sample-steps 25
expect 2 "--groups must divide the channels" "$train" "${tiny[@]}" --groups 3 --out "$out"
expect 2 "multiple of 2^(levels - 1)" "$train" "${tiny[@]}" --multipliers 1,2,2,2,2 --out "$out"
expect 2 "--batch must be at most the number of images" "$train" "${tiny[@]}" --batch 20000 --out "$out"
expect 2 "--checkpoint is needed" "$bin/sample"
expect 2 "--eta must be a number from 0 and up to 1; got 2" "$bin/sample" --checkpoint x --eta 2
expect 2 "--eta belongs to --sampler ddim" "$bin/sample" --checkpoint x --sampler ddpm --eta 0.5

# The configuration file: flags win over it, it wins over defaults, an unknown key names its neighbour.
printf 'batch = 8\nlr = 0.5\nmultipliers = [1, 2, 4]\nquiet = true\nsample_count = 2\n' >"$work/good.toml"
"$train" "${tiny[@]:0:4}" --config "$work/good.toml" --channels 4 --groups 2 --attention none \
  --lr 0.25 --steps 1 --out "$out"
grep -q '"batch": 8,' "$out/config.json" || fail "the file does not win over the default"
grep -q '"lr": 0.25,' "$out/config.json" || fail "the flag does not win over the file"
tr -d ' \n' <"$out/config.json" | grep -q '"multipliers":\[1,2,4\]' || fail "a list in the file"
printf 'bacth = 8\n' >"$work/typo.toml"
expect 2 "unknown key bacth; did you mean batch?" "$train" --config "$work/typo.toml"
printf 'lr = -1\n' >"$work/range.toml"
expect 2 "range.toml, line 1: --lr must be a number above 0 and up to 1; got -1" "$train" --config "$work/range.toml"
printf '[model]\nchannels = 8\n' >"$work/section.toml"
expect 2 "section.toml, line 1: tables are not used here; got model.channels" "$train" --config "$work/section.toml"
expect 2 "cannot open this file" "$train" --config "$work/none.toml"

# A processor without the instructions: exit code 5, where there is an emulator of older ones.
if command -v qemu-x86_64 >/dev/null && "$train" --version | grep -q AVX2; then
  expect 5 "train_mnist: this processor lacks SSE4.2, for which the program was built; build it with -DITO_ARCH=x86-64" \
    qemu-x86_64 -cpu core2duo "$train" --version
fi

# Data: exit code 3, with what fixes it.
expect 3 "apt-get install dataset-fashion-mnist" "$train" --data "$work/none" --out "$work/d"
expect 3 "scripts/get_data.sh mnist" "$train" --dataset mnist --data "$work/none" --out "$work/d"
expect 3 "scripts/get_data.sh cifar10" "$train" --dataset cifar10 --data "$work/none" --out "$work/d"
expect 3 "$work/none" "$train" --dataset folder --data "$work/none" --out "$work/d"
mkdir "$work/broken"
printf '<!DOCTYPE html><html>' >"$work/broken/train-images-idx3-ubyte"
printf '<!DOCTYPE html><html>' >"$work/broken/train-labels-idx1-ubyte"
expect 3 "web page" "$train" --dataset mnist --data "$work/broken" --out "$work/d"
expect 3 "no such file" "$bin/inspect" "$work/none"
[[ ! -e $work/d ]] || fail "a run directory was made although the data could not be read"

# Directories and devices.
expect 2 "there is a run already" "$train" "${tiny[@]}" --steps 1 --out "$out"
"$train" "${tiny[@]}" --steps 1 --out "$out" --overwrite
if ! "$train" "${tiny[@]}" --steps 1 --out "$work/cuda" --device cuda 2>/dev/null; then
  expect 5 "--device cuda: " "$train" "${tiny[@]}" --steps 1 --out "$work/cuda2" --device cuda
fi
printf 'a file' >"$work/file"
expect 5 "--out $work/file: cannot create this directory" "$train" "${tiny[@]}" --out "$work/file"

# Checkpoints: exit code 6.
expect 6 "no such directory" "$train" "${tiny[@]}" --resume "$work/none"
expect 6 "no such file or directory" "$bin/sample" --checkpoint "$work/none"
expect 6 "$work/file" "$bin/sample" --checkpoint "$work/file"
expect 6 "lr: 0.001 in the checkpoint, 0.002 now" \
  "$train" "${tiny[@]}" --steps 2 --out "$out" --resume auto --lr 0.002
expect 6 "seed: 0 in the checkpoint, 7 now" \
  "$train" "${tiny[@]}" --steps 2 --resume "$out" --seed 7

# A locale with a decimal comma, a path with spaces and UTF-8, a closed stdout and stderr.
odd="$work/a folder é"
LC_ALL=de_DE.UTF-8 "$train" "${tiny[@]}" --lr 0.001 --steps 1 --out "$odd"
grep -q '"lr": 0.001,' "$odd/config.json" || fail "numbers depend on the locale"
"$train" "${tiny[@]}" --steps 3 --out "$work/closed" >&- 2>&-
"$train" "${tiny[@]}" --quiet=false --steps 3 --out "$work/gone" 2> >(true)
"$bin/train_mnist" --help | head -1 >/dev/null
"$bin/inspect" "$work/gone" | head -1 >/dev/null
# A schedule that ends far from noise is said, one that does not is not.
note=$(LC_ALL=C "$train" "${tiny[@]}" --quiet=false --timesteps 50 --steps 1 --out "$work/short" 2>&1)
[[ $note == *"of the signal are left"* ]] || fail "no word on T = 50: $note"
note=$("$train" "${tiny[@]}" --quiet=false --timesteps 1000 --steps 1 --out "$work/long" 2>&1)
[[ $note != *"of the signal are left"* ]] || fail "a word on T = 1000: $note"

# Standard output that cannot be written is an error, and said.
full() {
  local got=0
  "$@" >/dev/full 2>"$work/stderr" || got=$?
  [[ $got == 5 ]] || fail "exit code $got, not 5, with a full disk: $*"
  grep -qF "standard output: No space left on device" "$work/stderr" || fail "$(cat "$work/stderr")"
}
full "$bin/inspect" "$work/gone"
full "$bin/sample" --list
full "$bin/schedules"
full "$bin/train_mnist" --help

# What is written is checked before the first step.
draw=("$bin/sample" --checkpoint "$out" --count 2 --steps 2 --quiet)
expect 2 "--out must end in .png; got $work/s.jpg" "${draw[@]}" --out "$work/s.jpg"
expect 2 "--save $work: must be a file; this is a folder" "${draw[@]}" --save "$work"
expect 5 "--out $work/file/s.png: cannot write in $work/file" "${draw[@]}" --out "$work/file/s.png"
expect 2 "make a picture of " "${draw[@]}" --count 99999 --scale 16 --out "$work/big.png"
expect 2 "--grid must end in .png" "$bin/decompress" --checkpoint "$out" "$work/x.ito" --grid "$work/p.jpg"
expect 5 "--out $work/file/p.svg" "$bin/train_points" --out "$work/file/p.svg"
expect 5 "--out $work/file/c.safetensors" "$bin/train_classifier" --out "$work/file/c.safetensors"
"${draw[@]}" --out "$work/no such/folder/s.PNG" --save "$work/and this/s.safetensors"
[[ -s "$work/no such/folder/s.PNG" && -s "$work/and this/s.safetensors" ]] || fail "folders not made"
for program in train_mnist train_cifar10 sample predict_noise inspect convert; do
  "$bin/$program" --help | grep -q -- '--help' || fail "$program --help"
done
echo "passed"
