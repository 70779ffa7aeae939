#!/usr/bin/env bash
# What happens to a run: a second process, a full disk, NaN, a deleted file, a model that must memorise.
source "$(dirname "$0")/common.sh"
train=("$bin/train_mnist" "${tiny[@]}")

# A second process in the same directory.
"${train[@]}" --steps 200000 --sample-every 0 --checkpoint-every 0 --out "$work/busy" &
pid=$!
until [[ -s $work/busy/metrics.jsonl ]]; do sleep 0.02; done
expect 2 "in use by another process (host " "${train[@]}" --out "$work/busy" --resume auto
expect 2 "pid $pid" "${train[@]}" --out "$work/busy" --overwrite
# ... and the metrics deleted under it.
rm "$work/busy/metrics.jsonl"
until [[ -s $work/busy/metrics.jsonl ]]; do sleep 0.02; done
kill -TERM "$pid"
wait "$pid" || [[ $? == 143 ]] || fail "training did not survive the loss of its metrics"

# A full disk: the limit on the size of a file stands in for it. The checkpoint before stays good.
"${train[@]}" --steps 4 --out "$work/full"
code=0
(ulimit -f 8; "${train[@]}" --steps 8 --out "$work/full" --resume auto 2>"$work/full.log") || code=$?
[[ $code == 5 ]] || fail "exit code $code when the disk is full: $(cat "$work/full.log")"
grep -q 'cannot save the checkpoint of step 8' "$work/full.log" || fail "$(cat "$work/full.log")"
if compgen -G "$work/full/checkpoints/*.tmp-*" >/dev/null; then fail "half a checkpoint was left"; fi
"${train[@]}" --steps 8 --out "$work/full" --resume auto
"${train[@]}" --steps 8 --out "$work/never-full"
same_run "$work/never-full" "$work/full"

# --profile changes nothing of the run, and says where its time went.
"${train[@]}" --steps 8 --profile --out "$work/profile"
same_run "$work/never-full" "$work/profile"
grep -q '^down_blocks.0.resnets.0.conv1 ' "$work/profile/profile.txt" || fail "no layer in the profile"
grep -q '"name": "conv2d", "cat": "forward"' "$work/profile/profile.json" || fail "no kernel in the trace"

# NaN in a parameter: five steps without an update, then exit code 4 and a report that names it.
"${train[@]}" --steps 4 --out "$work/nan"
"$bin/poison_checkpoint" "$work/nan/checkpoints" conv_in.weight
expect 4 "conv_in.weight" "${train[@]}" --steps 50 --out "$work/nan" --resume auto
tr -d ' \n' <"$work/nan/nan_report.json" >"$work/nan.json"
for text in '"step":8,' '"kind":"parameter","name":"conv_in.weight"' '"images":[' '"value":"nan"'; do
  grep -qF "$text" "$work/nan.json" || fail "nan_report.json lacks $text: $(cat "$work/nan.json")"
done
[[ $(readlink "$work/nan/checkpoints/latest") == step_000004 ]] || fail "a bad state was saved"
grep -q 'not finite' "$work/nan/report.html" || fail "the report does not say that training failed"

# --overfit: the loss of one batch, with the same noise every step, collapses.
"$bin/train_mnist" "${tiny[@]}" --overfit 2 --dropout 0 --channels 16 --lr 0.003 --steps 400 \
  --out "$work/overfit"
loss=$(tail -1 "$work/overfit/metrics.jsonl" | sed 's/.*"loss":\([0-9.e+-]*\),.*/\1/')
awk -v loss="$loss" 'BEGIN { exit !(loss < 0.02) }' || fail "--overfit 2 ends with loss $loss"
echo "passed"
