#!/usr/bin/env bash
# Training with other losses than L_simple and with a falling rate: what is learnt, continued, refused.
source "$(dirname "$0")/common.sh"
train=("$bin/train_mnist" "${tiny[@]}")

# Every weight is a loss of its own.
"${train[@]}" --steps 4 --out "$work/simple"
for weight in vlb-beta vlb-beta-tilde snr min-snr likelihood bound; do
  "${train[@]}" --steps 4 --predict v --loss-weight "$weight" --out "$work/$weight"
  for other in "$work"/*/; do
    [[ $other == "$work/$weight/" ]] && continue
    cmp -s "$work/$weight/metrics.jsonl" "$other/metrics.jsonl" &&
      fail "--loss-weight $weight is $other"
  done
done
# SNR on the error of x0 is 1 on that of the noise: the loss that is the default, but for rounding.
"${train[@]}" --steps 4 --loss-weight snr --out "$work/snr_of_epsilon"
loss() { sed -E 's/.*"loss":([0-9.]{5}).*/\1/;q' "$1/metrics.jsonl"; }
[[ $(loss "$work/simple") == "$(loss "$work/snr_of_epsilon")" ]] || fail "snr is not L_simple"

# A learned variance, timesteps by importance: stopped and continued, byte for byte.
hybrid=("${train[@]}" --learn-variance --timesteps 5 --sample-steps 2 --t-sampling importance)
"${hybrid[@]}" --steps 40 --out "$work/whole"
"${hybrid[@]}" --steps 33 --out "$work/half"
"${hybrid[@]}" --steps 40 --out "$work/half" --resume auto
same_run "$work/whole" "$work/half"
cmp "$work"/{whole,half}/checkpoints/latest/timesteps.safetensors || fail "what t was learnt differs"
"${hybrid[@]}" --t-sampling uniform --steps 40 --out "$work/uniform"
cmp -s "$work"/{whole,uniform}/metrics.jsonl && fail "--t-sampling has no effect"
"$bin/inspect" "$work/whole/checkpoints/latest/ema.safetensors" >"$work/text"
grep -Eq 'conv_out.bias +f32 +\[2\]' "$work/text" || fail "the output has not twice the channels"
"${hybrid[@]}" --loss-weight bound --steps 4 --out "$work/bound_learned"
# Samplers that take no variance from the network do without.
"$bin/sample" --checkpoint "$work/whole" --quiet --count 4 --steps 3 --out "$work/a.png"

# Half a cosine from step 5 to step 15; the tenth step is 4/10 of the way.
"${train[@]}" --steps 10 --log-every 10 --lr 0.001 --warmup 5 --lr-decay 15 --out "$work/falling"
grep -q '"lr":0.00065450' "$work/falling/metrics.jsonl" || fail "the rate of the tenth step"
"${train[@]}" --steps 15 --log-every 10 --lr 0.001 --warmup 5 --lr-decay 15 --out "$work/falling" --resume auto
expect 6 "lr_decay: 15 in the checkpoint, 0 now" "${train[@]}" --steps 20 --lr 0.001 --warmup 5 \
  --out "$work/falling" --resume auto

# Another loss is not continued, and what cannot be is refused.
expect 6 "learn_variance: true in the checkpoint, false now" \
  "${train[@]}" --timesteps 5 --sample-steps 2 --steps 50 --out "$work/whole" --resume auto
expect 2 "--loss-weight" "${train[@]}" --loss-weight heavy --out "$work/never"
expect 2 "--t-sampling importance changes the timesteps" \
  "${train[@]}" --t-sampling importance --overfit 2 --out "$work/never"
echo "passed"
