#!/usr/bin/env bash
# --minutes: the number of steps is fixed once, and from then on the run has the bits of one that was given
# that number, however it is stopped.
source "$(dirname "$0")/common.sh"
small=()  # not quiet, and without --warmup, which follows from the number
for word in "${tiny[@]}"; do [[ $word == --warmup || $word == 5 || $word == --quiet ]] || small+=("$word"); done
small+=(--threads 1)  # other programs on this machine then disturb the measurement less
train=("$bin/train_mnist" "${small[@]}" --quiet --sample-every 40)
short=(--minutes 0.005)

number() { sed -n "s/^ *\"$2\": \([0-9.]*\),\?$/\1/p" "$1/config.json" | head -1; }
# numbers RUN: the flags that stand for what was fixed.
numbers() { echo --steps "$(number "$1" steps)" --warmup "$(number "$1" warmup)" --lr-decay "$(number "$1" lr_decay)"; }
# explicit RUN FLAG...: a run of these numbers, beside RUN, ends with the same bits.
explicit() {
  local run=$1 flags
  read -ra flags <<<"$(numbers "$run")"
  "${train[@]}" "${@:2}" "${flags[@]}" --out "$run-explicit"
  same_run "$run-explicit" "$run"
}

# The number is printed, kept, and makes a run like any other; the time is kept roughly.
begin=${EPOCHREALTIME/./}
"$bin/train_mnist" "${small[@]}" --minutes 0.05 --out "$work/whole" 2>"$work/log"
ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
steps=$(number "$work/whole" steps)
echo "$steps steps in $ms ms of 3000"
((ms < 9000)) || fail "--minutes 0.05 took $ms ms"
grep -q "^  plan      $steps steps\? of 4 images in 0.05 min (.* a step measured over .*); warm-up $((
  steps >= 40 ? steps / 40 : steps > 1)), decay to step $steps$" "$work/log" || fail "$(cat "$work/log")"
[[ $(number "$work/whole" minutes) == 0.05 && $(number "$work/whole" lr_decay) == "$steps" ]] ||
  fail "config.json lacks the plan: $(cat "$work/whole/config.json")"

# The bits, whatever else is asked for.
kinds=("--t-sampling importance" "--class-conditional" "--overfit 2 --profile" "--warmup 7 --lr-decay 0 --ema-warmup none"
       "--lr-decay 1000 --flip on" "--seed 7")
for i in "${!kinds[@]}"; do
  read -ra kind <<<"${kinds[$i]}"
  run=$work/kind$i
  "${train[@]}" "${kind[@]}" "${short[@]}" --out "$run"
  explicit "$run" "${kind[@]}"
done
cmp "$work/kind0/checkpoints/latest/timesteps.safetensors" \
  "$work/kind0-explicit/checkpoints/latest/timesteps.safetensors" || fail "importance has another state"
[[ $(number "$work/kind3" warmup) == 7 && $(number "$work/kind3" lr_decay) == 0 &&
  $(number "$work/kind4" lr_decay) == 1000 ]] || fail "a flag was not kept"
(($(number "$work/kind2" steps) < 7)) || grep -q '^mean of 5 steps' "$work/kind2/profile.txt" ||
  fail "--profile counts the steps that were measured"

# kill -9 after a checkpoint, and before the first one: the same command line goes on with the same number.
# until_there PID COMMAND...: waits for the command to succeed, or for the process to end.
until_there() { while kill -0 "$1" 2>/dev/null && ! "${@:2}" >/dev/null; do :; done; }
for when in config.json checkpoints/latest; do
  run=$work/killed-${when/\//-}
  often=(--checkpoint-every $([[ $when == config.json ]] && echo 0 || echo 20))
  budget=(--minutes 0.01)
  "${train[@]}" "${often[@]}" "${budget[@]}" --out "$run" &
  pid=$!
  until_there $pid test -e "$run/$when"
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  steps=$(number "$run" steps)
  [[ $when != config.json || ! -e $run/checkpoints/latest ]] || (($steps < 20)) || fail "killed too late"
  cp -r "$run" "$run-numbers"
  cp -r "$run" "$run-named"
  "${train[@]}" "${often[@]}" "${budget[@]}" --out "$run" --resume auto
  [[ $(number "$run" steps) == "$steps" ]] || fail "the number of steps has changed"
  explicit "$run" "${often[@]}"
  [[ $when == config.json ]] && continue
  # Also with the numbers in place of the time, and where the run is named.
  read -ra flags <<<"$(numbers "$run")"
  "${train[@]}" "${often[@]}" "${flags[@]}" --out "$run-numbers" --resume auto
  same_run "$run" "$run-numbers"
  "${train[@]}" "${often[@]}" "${budget[@]}" --resume "$run-named/checkpoints"
  same_run "$run" "$run-named"
done

# A run of another budget, or of none; a config.json that is not one.
run=$work/kind0
again=("${train[@]}" --t-sampling importance --out "$run" --resume auto)
expect 6 "--minutes 2: the run in $run was begun with --minutes 0.005" "${again[@]}" --minutes 2
expect 6 "go on with it give --minutes 0.005, or $(numbers "$run"); to start again: --overwrite" "${again[@]}" --minutes 2
expect 6 "$run-explicit was begun with --steps $(number "$run" steps)" \
  "${train[@]}" "${short[@]}" --resume "$run-explicit"
cp "$run/config.json" "$work/config.json"
for damage in 's/"steps": [0-9]*/"steps": 1.5/' 's/"steps": [0-9]*/"steps": 0/' 's/"minutes": .*,/"minutes": "a",/' \
  's/"warmup": [0-9]*/"warmup": null/' 's/"run": {/"runs": {/' 's/"program"/program/' 's/.*/[]/'; do
  sed "$damage" "$work/config.json" >"$run/config.json"
  expect 6 "$run/config.json: not the configuration of a run" "${again[@]}" "${short[@]}"
  expect 6 "--steps, --warmup and --lr-decay in place of --minutes" "${again[@]}" "${short[@]}"
done
rm "$run/config.json"
expect 6 "$run/config.json: no such file" "${again[@]}" "${short[@]}"
mkdir "$run/config.json"
expect 6 "$run/config.json" "${again[@]}" "${short[@]}"
rmdir "$run/config.json"
# --overwrite makes a new plan; --resume auto does so where nothing has begun, and says nothing of it.
"${train[@]}" "${short[@]}" --out "$run" --overwrite
"${train[@]}" "${short[@]}" --out "$work/new" --resume auto 2>"$work/log"
[[ $(number "$work/new" minutes) == 0.005 && ! -s $work/log ]] || fail "--quiet: $(cat "$work/log")"

# What is refused leaves a directory that can be used.
for program in train_mnist train_cifar10 train_classifier train_points; do
  expect 2 "--minutes and --steps exclude each other" "$bin/$program" --minutes 1 --steps 5
  expect 2 "--minutes must be a number above 0" "$bin/$program" --minutes 0
  expect 2 "--minutes must be a number above 0" "$bin/$program" --minutes nan
done
printf 'minutes = 1\n' >"$work/minutes.toml"
expect 2 "--minutes and --steps exclude each other" "$bin/train_mnist" --config "$work/minutes.toml" --steps 5
expect 2 "--lr-decay must be above --warmup; got 7 and 9" "${train[@]}" --warmup 9 --lr-decay 7 --minutes 1
expect 2 "and 999999999, and --minutes 0.005 has room for" "${train[@]}" "${short[@]}" --warmup 999999999 --out "$work/refused"
"${train[@]}" --steps 1 --out "$work/refused"

# The least is one step, and one that takes longer than the budget is the only one that is made for it.
"$bin/train_mnist" "${small[@]}" --minutes 1e-5 --out "$work/one" 2>"$work/log"
grep -q '1 step of 4 images .*measured over 1 step.*not even one fits.*warm-up 0, decay to step 1' "$work/log" ||
  fail "$(cat "$work/log")"
explicit "$work/one"

# The other trainers: the number stands in what is printed.
planned() { sed -n 's/^  plan      \([0-9]*\) steps\? of .*/\1/p' "$1"; }
classifier() { "$bin/train_classifier" --dataset synthetic --channels 8 --batch 16 "$@"; }
classifier --minutes 0.01 --out "$work/a.safetensors" >/dev/null 2>"$work/log"
classifier --steps "$(planned "$work/log")" --out "$work/b.safetensors" --quiet
cmp "$work/a.safetensors" "$work/b.safetensors" || fail "train_classifier --minutes learns something else"
points() { "$bin/train_points" --count 50 --batch 32 --width 16 --layers 1 --timesteps 20 "$@"; }
for predict in epsilon edm; do
  points --predict $predict --minutes 0.005 --overwrite --out "$work/a.svg" --save "$work/a.safetensors" >/dev/null 2>"$work/log"
  points --predict $predict --steps "$(planned "$work/log")" --overwrite --out "$work/b.svg" --save "$work/b.safetensors" --quiet
  cmp "$work/a.safetensors" "$work/b.safetensors" || fail "train_points --minutes learns something else"
  cmp "$work/a.svg" "$work/b.svg" || fail "train_points --minutes draws something else"
done
points --minutes 0.001 --quiet --out "$work/c.svg" >"$work/log" 2>&1
[[ ! -s $work/log ]] || fail "--quiet prints $(cat "$work/log")"
expect 2 "--minutes belongs to training; --load" "$bin/train_points" --load "$work/a.safetensors" --minutes 1
echo "passed"
