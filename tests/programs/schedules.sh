#!/usr/bin/env bash
# schedules: a table, two plots, a picture.
source "$(dirname "$0")/common.sh"

"$bin/schedules" --names linear,cosine --alpha-bar "$work/a.svg" --snr "$work/b.svg" \
  --dataset synthetic --image "$work/n.png" >"$work/table"
grep -qE '^linear +0.0001 +0.02 +0.0786 +4.04e-05 +4.04e-05 +2.02e-05$' "$work/table" ||
  fail "the row of linear: $(cat "$work/table")"
[[ $(wc -l <"$work/table") == 4 ]] || fail "more rows than were asked for"
for plot in a b; do
  [[ $(grep -o '<polyline' "$work/$plot.svg" | wc -l) == 2 ]] || fail "$plot.svg has not two curves"
done
"$bin/inspect" "$work/n.png" >"$work/inspected"
grep -q '664 x 124' "$work/inspected" || fail "n.png has not two rows of eleven images"
[[ $("$bin/schedules" | wc -l) == 14 ]] || fail "not all schedules are shown"
[[ $("$bin/schedules" --timesteps 10 | wc -l) == 13 ]] || fail "linear-rescaled has at least 21"

expect 2 '--names must be all or some of linear,' "$bin/schedules" --names linear,sine
expect 2 'timesteps must be at least 21; got 10' \
  "$bin/schedules" --names linear-rescaled --timesteps 10
expect 2 '--index must be below' "$bin/schedules" --dataset synthetic --index 1000000000 \
  --image "$work/m.png"
