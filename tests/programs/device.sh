#!/usr/bin/env bash
# The training programs on the device, beside the CPU: equal random numbers, equal losses, graphs or
# not, f32 or bf16, stopped and continued. Without a device: the errors.
source "$(dirname "$0")/common.sh"
train=("$bin/train_mnist" "${tiny[@]}" --flip on --seed 3)

# Without a device bf16 has nowhere to run, and that is said before anything else.
expect 2 "--dtype must be one of" "${train[@]}" --dtype f16
expect 2 "--dtype bf16 needs --device cuda: the CPU computes in f32" \
  "${train[@]}" --steps 1 --device cpu --dtype bf16 --out "$work/never"
[[ ! -e $work/never ]] || fail "a run directory was made for flags that cannot be used"
if ! "${train[@]}" --steps 1 --device cuda --out "$work/first" 2>"$work/why"; then
  expect 5 "--device cuda: " "${train[@]}" --steps 1 --device cuda --out "$work/never"
  expect 2 "--dtype bf16 needs --device cuda" "${train[@]}" --device auto --dtype bf16 --out "$work/never"
  "${train[@]}" --steps 1 --device auto --out "$work/auto"
  echo "SKIPPED on the device: $(cat "$work/why")"
  exit 0
fi

# column NAME RUN: that number of each line of the metrics.
column() { sed "s/.*\"$1\":\([0-9.e+-]*\|null\)[,}].*/\1/" "$2/metrics.jsonl"; }
# near NAME RUN RUN TOLERANCE: these columns agree, relative to the first.
near() {
  paste <(column "$1" "$2") <(column "$1" "$3") | awk -v tolerance="$4" -v name="$1" '
    { d = ($1 - $2) / $1; if (d < 0) d = -d; if (!(d <= tolerance)) bad = 1; if (d > worst) worst = d }
    END { printf "%s: largest relative difference %g over %d lines\n", name, worst, NR; exit bad || NR == 0 }' ||
    fail "$1 of $2 and $3"
}

# 20 steps on the CPU and on the device: one line of metrics for each step.
steps=(--steps 20 --log-every 1 --sample-count 0)
"${train[@]}" "${steps[@]}" --device cpu --out "$work/cpu"
"${train[@]}" "${steps[@]}" --device cuda --out "$work/cuda"
near loss "$work/cpu" "$work/cuda" 1e-4
near grad_norm "$work/cpu" "$work/cuda" 1e-3
# Looking less often, and kernels one by one, change no bit.
"${train[@]}" --steps 20 --sample-count 0 --device cuda --out "$work/graph"
"${train[@]}" --steps 20 --sample-count 0 --device cuda --no-graph --out "$work/eager"
same_run "$work/graph" "$work/eager"
cmp "$work/cuda/checkpoints/latest/model.safetensors" "$work/graph/checkpoints/latest/model.safetensors" ||
  fail "what is learnt depends on --log-every"

# bf16 has 8 bits: each of the few hundred roundings on the way to a loss moves it by up to 2^-9 of
# a term, with random signs. Losses begin at 1, so 2 % is generous, and f32 in disguise is 0.
"${train[@]}" "${steps[@]}" --device cuda --dtype bf16 --out "$work/bf16"
near loss "$work/cpu" "$work/bf16" 0.02
cmp -s "$work/cuda/metrics.jsonl" "$work/bf16/metrics.jsonl" && fail "bf16 computes in f32"

# Stopped and continued, in both dtypes: byte for byte. Files are f32, so dtype and device may change.
for dtype in f32 bf16; do
  go=("${train[@]}" --device cuda --dtype "$dtype" --sample-count 0)
  "${go[@]}" --steps 14 --out "$work/whole-$dtype"
  "${go[@]}" --steps 5 --out "$work/half-$dtype"
  "${go[@]}" --steps 14 --out "$work/half-$dtype" --resume auto
  same_run "$work/whole-$dtype" "$work/half-$dtype"
  # Steps that --minutes measures are undone, in the rounded copy of the weights too.
  go+=(--ema-warmup none --lr-decay 0)
  "${go[@]}" --minutes 0.03 --out "$work/minutes-$dtype"
  number=$(sed -n 's/^ *"steps": \([0-9]*\),/\1/p' "$work/minutes-$dtype/config.json")
  "${go[@]}" --steps "$number" --out "$work/steps-$dtype"
  same_run "$work/steps-$dtype" "$work/minutes-$dtype"
done
cp -r "$work/half-bf16" "$work/moved"
"${train[@]}" --device cpu --steps 16 --sample-count 0 --out "$work/moved" --resume auto
"${train[@]}" --device cuda --steps 18 --sample-count 0 --out "$work/moved" --resume auto

# Samples of a run on the device, and its checkpoint sampled on the CPU.
"${train[@]}" --device cuda --dtype bf16 --steps 4 --sample-every 2 --out "$work/drawn"
[[ -f $work/drawn/samples/step_000002.png ]] || fail "no grid"
draw() { "$bin/sample" --checkpoint "$work/cuda" --quiet --count 4 --steps 5 --eta 1 "$@"; }
draw --device cpu --out "$work/a.png" --save "$work/a.safetensors"
draw --device cuda --out "$work/b.png" --save "$work/b.safetensors"
"$bin/compare_tensors" "$work/a.safetensors" "$work/b.safetensors" samples samples 1e-3
draw --device cuda --no-graph --out "$work/c.png" --save "$work/c.safetensors"
cmp "$work/b.safetensors" "$work/c.safetensors" || fail "sample --no-graph gives other bits"
draw --device cuda --dtype bf16 --out "$work/d.png" --save "$work/d.safetensors"

# NaN in a parameter: as on the CPU, though the device has gone on when it is noticed.
"${train[@]}" --device cuda --steps 4 --sample-count 0 --out "$work/nan"
"$bin/poison_checkpoint" "$work/nan/checkpoints" conv_in.weight
expect 4 "the last one step 9: parameter conv_in.weight" "${train[@]}" --log-every 50 \
  --device cuda --steps 50 --sample-count 0 --out "$work/nan" --resume auto
tr -d ' \n' <"$work/nan/nan_report.json" >"$work/nan.json"
for text in '"step":8,' '"kind":"parameter","name":"conv_in.weight"' '"value":"nan"'; do
  grep -qF "$text" "$work/nan.json" || fail "nan_report.json lacks $text: $(cat "$work/nan.json")"
done

# Less memory than the step needs (a limit of the emulated device).
if [[ ${ITO_TEST_EMULATED:-} == 1 ]]; then
  expect 5 "to need less memory, lower the batch" env ITO_EMULATE_MEMORY=2 \
    "${train[@]}" --device cuda --batch 64 --steps 1 --out "$work/memory"
fi
echo "passed"
