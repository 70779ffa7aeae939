#!/usr/bin/env bash
# However a run is stopped, continuing it ends with the bits of a run that was never stopped: kill -9 at
# many moments, signals, other numbers of threads.
source "$(dirname "$0")/common.sh"
train=("$bin/train_mnist" "${tiny[@]}" --steps 60 --sample-every 20 --checkpoint-every 4)

begin=${EPOCHREALTIME/./}
"${train[@]}" --threads 1 --out "$work/whole"
whole_ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
"${train[@]}" --threads 3 --out "$work/threads"
same_run "$work/whole" "$work/threads"
for file in samples/step_000020.png samples/step_000060.png; do
  cmp "$work/whole/$file" "$work/threads/$file" || fail "$file depends on the threads"
done

# Resumed half way, on purpose.
"$bin/train_mnist" "${tiny[@]}" --sample-every 20 --checkpoint-every 4 --steps 31 --out "$work/half"
"${train[@]}" --out "$work/half" --resume auto
same_run "$work/whole" "$work/half"

# kill -9 again and again, until the run gets to its end: four times a random moment after it has come past
# a checkpoint, however fast this machine is today, then after random times that grow, so that there is an end.
last_checkpoint() { basename "$(readlink "$work/killed/checkpoints/latest" || echo step_0)" | sed 's/step_0*\(.\)/\1/'; }
RANDOM=7
export ASAN_OPTIONS=${ASAN_OPTIONS:-}
kills=0
for attempt in $(seq 1 200); do
  "${train[@]}" --threads $((1 + attempt % 3)) --out "$work/killed" --resume auto \
    >/dev/null 2>"$work/killed.log" &
  pid=$!
  limit=$((10 + RANDOM % (whole_ms / 6 + whole_ms * attempt / 30)))
  if ((attempt <= 4)); then
    while kill -0 "$pid" 2>/dev/null && (($(last_checkpoint) < 8 * attempt)); do :; done
    limit=$((RANDOM % 30))
  fi
  for ((ms = 0; ms < limit; ms += 10)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.01
  done
  kill -9 "$pid" 2>/dev/null || true
  code=0
  wait "$pid" 2>/dev/null || code=$?
  [[ $code == 0 ]] && break
  [[ $code == 137 ]] || fail "exit code $code after kill -9: $(cat "$work/killed.log")"
  kills=$((kills + 1))
done
[[ $code == 0 ]] || fail "not finished after $attempt attempts"
((kills >= 3)) || fail "killed only $kills times"
echo "killed $kills times"
same_run "$work/whole" "$work/killed"
for file in samples/step_000020.png samples/step_000040.png samples/step_000060.png; do
  cmp "$work/whole/$file" "$work/killed/$file" || fail "$file differs after kills"
done

# kill -9 in the middle of writing a checkpoint: as soon as its temporary directory is there.
found=0
for attempt in $(seq 1 40); do
  rm -rf "$work/torn"
  "${train[@]}" --out "$work/torn" >/dev/null 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if compgen -G "$work/torn/checkpoints/step_*.tmp-*" >/dev/null; then break; fi
  done
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  if compgen -G "$work/torn/checkpoints/step_*.tmp-*" >/dev/null; then
    found=1
    break
  fi
done
((found)) || fail "no kill fell into the writing of a checkpoint"
"${train[@]}" --out "$work/torn" --resume auto
same_run "$work/whole" "$work/torn"
if compgen -G "$work/torn/checkpoints/*.tmp-*" >/dev/null; then fail "a stale directory was left"; fi

# SIGINT and SIGTERM: saved, exit codes 130 and 143, a report, and the same end.
long=("$bin/train_mnist" "${tiny[@]}" --steps 200000 --sample-every 0 --checkpoint-every 0)
for signal in INT TERM; do
  "${long[@]}" --out "$work/$signal" &
  pid=$!
  until [[ -s $work/$signal/metrics.jsonl ]]; do sleep 0.02; done
  kill -"$signal" "$pid"
  code=0
  wait "$pid" || code=$?
  [[ $code == $([[ $signal == INT ]] && echo 130 || echo 143) ]] || fail "exit code $code after SIG$signal"
  [[ -f $work/$signal/report.html ]] || fail "no report after SIG$signal"
  grep -q 'interrupted after step' "$work/$signal/report.html" || fail "the report does not say so"
  step=$(sed -n 's/^ *"step": \([0-9]*\),/\1/p' "$work/$signal/checkpoints/latest/state.json")
  "$bin/train_mnist" "${tiny[@]}" --steps $((step + 5)) --out "$work/$signal" --resume auto
  "$bin/train_mnist" "${tiny[@]}" --steps $((step + 5)) --out "$work/$signal-whole"
  same_run "$work/$signal-whole" "$work/$signal"
done

# A damaged checkpoint: --resume auto says so and takes the one before; naming it is an error.
cp -r "$work/whole" "$work/damaged"
printf 'x' | dd of="$work/damaged/checkpoints/step_000060/model.safetensors" bs=1 seek=900 \
  conv=notrunc 2>/dev/null
expect 6 "model.safetensors" "${train[@]}" --resume "$work/damaged/checkpoints/step_000060"
expect 0 "WARNING: a damaged checkpoint is left out" "${train[@]}" --out "$work/damaged" --resume auto
same_run "$work/whole" "$work/damaged"

# The other trainers stand on the same run: killed after a checkpoint, they end with the same files.
# ends_the_same NAME FILE COMMAND...: COMMAND --out NAME.svg writes FILE.
ends_the_same() {
  local name=$1 file=$2 pid code
  shift 2
  "$@" --out "$work/$name-whole.$file"
  "$@" --out "$work/$name.$file" &
  pid=$!
  until [[ -e $work/$name.run/checkpoints/latest ]] || ! kill -0 "$pid" 2>/dev/null; do :; done
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  [[ ! -e $work/$name.$file ]] || fail "$name was killed too late"
  "$@" --out "$work/$name.$file" --resume auto
  cmp "$work/$name-whole.$file" "$work/$name.$file" || fail "$name differs after a kill"
  cmp "$work/$name-whole.run/metrics.jsonl" "$work/$name.run/metrics.jsonl" || fail "metrics of $name"
  [[ -s $work/$name.run/report.html ]] || fail "no report of $name"
}
ends_the_same points svg "$bin/train_points" --count 50 --batch 32 --width 16 --layers 1 --timesteps 20 \
  --steps 400 --checkpoint-every 10 --quiet
ends_the_same classifier safetensors "$bin/train_classifier" --dataset synthetic --channels 8 --batch 16 \
  --inputs noisy --timesteps 20 --steps 60 --checkpoint-every 3 --quiet
expect 6 "lr: 0.004 in the checkpoint, 0.01 now" \
  "$bin/train_points" --batch 32 --width 16 --layers 1 --timesteps 20 --steps 400 --lr 0.01 \
  --out "$work/points.svg" --resume auto --quiet
expect 6 "no such directory" "$bin/train_points" --out "$work/points.svg" --resume "$work/nowhere"
# An earlier run is not replaced by accident.
expect 2 "there is a run already" "$bin/train_points" --steps 3 --out "$work/points.svg" --quiet
expect 2 "--resume and --overwrite exclude" "$bin/train_points" --steps 3 --out "$work/points.svg" --resume auto --overwrite
"$bin/train_points" --count 50 --steps 3 --out "$work/points.svg" --overwrite --quiet
# SIGTERM: saved, and no file that looks finished.
"$bin/train_classifier" --dataset synthetic --channels 8 --batch 16 --steps 200000 --quiet --out "$work/stopped.safetensors" &
pid=$!
until [[ -s $work/stopped.run/metrics.jsonl ]]; do sleep 0.02; done
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[[ $code == 143 && ! -e $work/stopped.safetensors && -e $work/stopped.run/checkpoints/latest ]] || fail "SIGTERM: $code"

# A run begun with --minutes, continued without: the message says how.
"$bin/train_mnist" "${tiny[@]}" --lr-decay 1000000 --minutes 0.003 --out "$work/minutes"
expect 6 "it was begun with --minutes 0.003: give that" \
  "$bin/train_mnist" "${tiny[@]}" --steps 60 --out "$work/minutes" --resume auto
echo "passed"
