#!/usr/bin/env bash
# train_cifar10: its defaults are the published recipe; it trains on binary files, and goes on there.
source "$(dirname "$0")/common.sh"
data=$work/cifar-10-batches-bin
mkdir -p "$data"
for batch in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
  for label in 0 3 7 9; do  # a record: the label, then 32 x 32 red, green and blue bytes
    printf "\\x0$label"
    head -c 3072 /dev/urandom
  done >"$data/$batch.bin"
done

# One step of everything but the size: the width is cut, the rest is the paper's.
"$bin/train_cifar10" --data "$data" --out "$work/run" --steps 1 --channels 32 --batch 4 \
  --sample-count 0 --quiet
has() { grep -qF -- "$1" "$work/run/config.json" || fail "config.json lacks $1"; }
for setting in '"dataset": "cifar10"' '"images": 20' '"flip": "on"' '"schedule": "linear"' \
  '"timesteps": 1000' '"predict": "epsilon"' '"blocks": 2' '"heads": 1' '"groups": 32' \
  '"dropout": 0.1' '"lr": 0.0002' '"warmup": 5000' '"clip": 1.0' '"ema": 0.9999'; do
  has "$setting"
done
"$bin/train_cifar10" --help >"$work/help"
for default in '--steps .*800000' '--batch .*128' '--channels .*128'; do
  grep -qE -- "$default" "$work/help" || fail "--help does not show the recipe's $default"
done

# Going on gives the bits of a run that was not stopped.
go() { "$bin/train_cifar10" --data "$data" --channels 32 --multipliers 1 --attention none --blocks 1 \
  --batch 4 --sample-count 0 --log-every 1 --quiet "$@"; }
go --out "$work/whole" --steps 4
go --out "$work/parts" --steps 2
go --out "$work/parts" --steps 4 --resume auto
same_run "$work/whole" "$work/parts"

# Blocks computed again for the gradients learn the same, dropout included.
losses() { grep -o '"loss":[0-9.]\{6\}' "$1/metrics.jsonl"; }
go --out "$work/again" --steps 4 --recompute
[[ $(losses "$work/again" | wc -l) == 4 && $(losses "$work/again") == "$(losses "$work/whole")" ]] ||
  fail "--recompute gives other losses"

# The synthetic colour set, where no CIFAR-10 is at hand.
go --dataset synthetic --out "$work/synthetic" --steps 2
