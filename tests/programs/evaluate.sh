#!/usr/bin/env bash
# evaluate: the bound, the comparison with real images, and what it refuses.
source "$(dirname "$0")/common.sh"
shapes=(--dataset synthetic --image-size 28 --channels 4 --multipliers 1,2 --blocks 1 --attention 14
        --groups 2 --batch 4 --timesteps 20 --sample-steps 3 --sample-count 4 --steps 20 --quiet)
"$bin/train_mnist" "${shapes[@]}" --out "$work/run"
"$bin/train_mnist" "${shapes[@]}" --class-conditional --out "$work/classes"
"$bin/train_classifier" --dataset synthetic --channels 8 --steps 60 --batch 16 --quiet \
  --out "$work/classifier.safetensors"
evaluate() { "$bin/evaluate" --quiet --bound-images 6 --count 20 --reference 60 "$@"; }
judged=(--classifier "$work/classifier.safetensors")

# Everything at once; the numbers depend neither on threads nor, but for rounding, on batches.
evaluate --checkpoint "$work/run" "${judged[@]}" --threads 1 --json "$work/a.json" \
  --save "$work/a.safetensors" >"$work/a"
evaluate --checkpoint "$work/run" "${judged[@]}" --threads 3 --json "$work/b.json" >"$work/b"
cmp "$work/a" "$work/b" || fail "evaluate is not repeatable"
cmp "$work/a.json" "$work/b.json" || fail "evaluate --json is not repeatable"
for text in 'bits per dimension of 6 images of the test split, 20 steps, variance beta-tilde' 'prior' 'denoising' 'decoder' \
  'reference: 60 images of the train split' 'samples: ddim, 20 steps' \
  'floor: real images' 'pure noise'; do
  grep -q -- "$text" "$work/a" || fail "evaluate does not print: $text"
done
evaluate --checkpoint "$work/run" "${judged[@]}" --batch 4 --json "$work/c.json" >/dev/null
"$bin/evaluate" --samples "$work/a.safetensors" "${judged[@]}" --reference 60 --quiet \
  --json "$work/d.json" >"$work/d"
if command -v python3 >/dev/null; then
  python3 - "$work"/{a,c,d}.json <<'CHECK' || fail "the numbers do not fit together"
import json, sys
a, c, d = (json.load(open(name)) for name in sys.argv[1:])
close = lambda x, y: abs(x - y) <= 1e-3 * (1 + abs(x))
bound = a["bound"]
assert len(bound["by_timestep"]) == 20 and bound["images"] == 6
terms = sum(row["bits"] for row in bound["by_timestep"])
assert abs(bound["prior"] + terms - bound["bits_per_dimension"]) < 1e-9
assert abs(bound["prior"] + bound["denoising"] + bound["decoder"] - bound["bits_per_dimension"]) < 1e-9
assert bound["decoder"] == bound["by_timestep"][0]["bits"]
assert close(bound["bits_per_dimension"], c["bound"]["bits_per_dimension"])
samples, floor, noise = a["proxy"]["rows"]
assert samples["n"] == floor["n"] == noise["n"] == 20
assert samples["accuracy"] is None and 0 <= floor["accuracy"] <= 1
assert floor["frechet"] < samples["frechet"] and floor["kernel"] < noise["kernel"]
assert close(samples["frechet"], c["proxy"]["rows"][0]["frechet"])
judged = d["proxy"]["rows"][0]
assert all(judged[k] == samples[k] for k in ("frechet", "kernel", "precision", "recall"))
CHECK
else
  echo "SKIPPED: no python3 to read the JSON with"
fi

# The bound of a shorter chain, and with the variance that fits best.
bits() { "$bin/evaluate" --quiet --checkpoint "$work/run" --bound-images 6 "$@" | awk '/^  sum/ { print $2 }'; }
awk -v all="$(bits)" -v few="$(bits --bound-steps 5)" -v best="$(bits --bound-steps 5 --bound-variance analytic)" \
  'BEGIN { exit !(all < few && best < few) }' || fail "bounds of shorter chains"

# An estimate from a few terms of each image.
"$bin/evaluate" --quiet --checkpoint "$work/run" --bound-images 60 --bound-draws 3 >"$work/estimate"
grep -q 'estimated from 3 of the terms of each' "$work/estimate" || fail "the estimate is not named"
"$bin/evaluate" --quiet --checkpoint "$work/run" --bound-images 60 >"$work/all"
paste <(grep '^  sum' "$work/estimate") <(grep '^  sum' "$work/all") |
  awk '{ d = $2 - $6; if (d < 0) d = -d; exit !(d > 0 && d < 4 * ($4 + $8)) }' ||
  fail "estimate of the bound: $(cat "$work/estimate")"

# A model that knows classes: its samples are judged by them too.
evaluate --checkpoint "$work/classes" "${judged[@]}" --guidance 3 --json "$work/e.json" >"$work/e"
grep -q 'samples: ddim, 20 steps, .*guidance 3' "$work/e" || fail "guidance is not named"
grep -q '"accuracy": 0' "$work/e.json" || fail "no accuracy of samples of known classes"

# Features of another program: three of them, all larger by 1, are at a distance of 3.
"$bin/make_features" "$work/features.safetensors"
"$bin/evaluate" --features "$work/features.safetensors" >"$work/f"
grep -q '^  samples  *40  *3.0000 ' "$work/f" || fail "features of a file: $(cat "$work/f")"

# The order of the rows does not matter, a set is at 0 from itself, and NaN is found.
for kind in clusters reversed same nan; do
  "$bin/make_features" "$work/$kind.safetensors" "$kind"
done
for kind in clusters reversed; do
  "$bin/evaluate" --features "$work/$kind.safetensors" --json "$work/new/$kind.json" >/dev/null
done
regions() { grep -E '"(precision|recall)"' "$1"; }
[[ $(regions "$work/new/clusters.json") == "$(regions "$work/new/reversed.json")" ]] ||
  fail "precision and recall depend on the order of the rows"
regions "$work/new/clusters.json" | grep -q '"recall": 0.[1-9]' || fail "recall of clusters"
"$bin/evaluate" --features "$work/same.safetensors" >"$work/f"
grep -q '^  samples  *40  *0.0000 ' "$work/f" || fail "a set against itself: $(cat "$work/f")"
expect 3 "samples: features must be finite; got nan in row 3, column 1" \
  "$bin/evaluate" --features "$work/nan.safetensors"

expect 2 "--checkpoint, --samples or --features is needed" evaluate
expect 2 "--classifier and --features exclude each other" \
  "$bin/evaluate" --features "$work/features.safetensors" "${judged[@]}"
expect 3 "no tensor named samples" "$bin/evaluate" --features "$work/classifier.safetensors"
expect 2 "--samples needs --classifier" "$bin/evaluate" --samples "$work/a.safetensors"
expect 2 "--reference needs --classifier" evaluate --checkpoint "$work/run"
expect 2 "--guidance needs a model that knows classes" \
  evaluate --checkpoint "$work/run" "${judged[@]}" --guidance 2
expect 2 "--bound-steps must be at most 20" evaluate --checkpoint "$work/run" "${judged[@]}" --bound-steps 21
expect 2 "at most 20" evaluate --checkpoint "$work/run" "${judged[@]}" --steps 21
expect 2 "--steps and --samples exclude each other" "$bin/evaluate" --steps 3 "${judged[@]}" \
  --samples "$work/a.safetensors"
expect 6 "No such file or directory" evaluate --checkpoint "$work/run" --classifier "$work/none.safetensors"
expect 6 "no such file" evaluate --checkpoint "$work/none" "${judged[@]}"
expect 3 "no tensor named" "$bin/evaluate" "${judged[@]}" \
  --samples "$work/run/checkpoints/latest/model.safetensors"
echo "passed"
