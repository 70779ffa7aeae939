# Shared by the tests of the programs. Each test is called with the folder of the programs and a folder
# of its own to write in. A tiny network on the synthetic set keeps a run below a second.
set -euo pipefail
bin=$1
work=$2
rm -rf "$work"
mkdir -p "$work"
export LC_ALL=C

tiny=(--dataset synthetic --image-size 8 --channels 4 --multipliers 1,2 --blocks 1 --attention 4
      --groups 2 --dropout 0.1 --batch 4 --timesteps 20 --sample-steps 3 --sample-count 4 --warmup 5
      --log-every 3 --quiet)

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect CODE TEXT COMMAND...: the command ends with this exit code and its stderr has the text.
expect() {
  local code=$1 text=$2 got=0
  shift 2
  "$@" >"$work/stdout" 2>"$work/stderr" || got=$?
  [[ $got == "$code" ]] ||
    fail "exit code $got, not $code: $*"$'\n'"$(cat "$work/stderr")"
  grep -qF -- "$text" "$work/stderr" ||
    fail "stderr lacks \"$text\": $*"$'\n'"$(cat "$work/stderr")"
}

# same_run A B: the last checkpoints, their states and the metrics agree byte for byte.
same_run() {
  local file
  cmp "$1/metrics.jsonl" "$2/metrics.jsonl" || fail "metrics of $1 and $2 differ"
  for file in model.safetensors ema.safetensors optimizer.safetensors state.json manifest.json; do
    cmp "$1/checkpoints/latest/$file" "$2/checkpoints/latest/$file" ||
      fail "$file of $1 and $2 differs"
  done
}
