#!/usr/bin/env bash
# Everything worth knowing about ito on this machine's GPU, in one call: builds it, runs the whole test
# suite on the device, compute-sanitizer on the tests of the kernels, the benchmarks of whole training
# steps, of sampling and of every kernel, and PyTorch on the same network. Writes one Markdown file with the GPU, the
# driver, the date and every command, and beside it the raw numbers.
#   usage: scripts/gpu_check.sh [FLAG...]
#     --parts LIST   of: build,tests,steps,sampling,kernels,sanitizer,torch   (default: all, in this order)
#     --minutes N    everything is done or stopped after N minutes            (default: 9)
#     --out DIR      where results go                                         (default: benchmarks/results)
#     --build DIR    build folder                                             (default: build/gpu)
#     --deps DIR     folder made by scripts/offline_deps.sh, on a machine without the packages
#     --python PATH  a Python with a CUDA PyTorch                             (default: python3)
#     --emulate      no GPU: the emulated device and tiny sizes, to try this script; timings mean nothing
# A part that fails does not stop the others. A build folder that is there is brought up to date, so that
# a call can be split: first --parts build,tests, then --parts steps,kernels.
# Exit codes: 0 all parts passed, 1 some did not, 2 wrong usage, 77 no GPU.
set -uo pipefail
cd "$(dirname "$0")/.."

parts=build,tests,steps,sampling,kernels,sanitizer,torch
minutes=9 out=benchmarks/results build=build/gpu deps='' python=python3 emulate=0
while (($#)); do
  case $1 in
    --parts | --minutes | --out | --build | --deps | --python)
      (($# > 1)) || { echo "gpu_check: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift ;;
    --emulate) emulate=1 ;;
    -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "gpu_check: unknown argument $1; see --help" >&2; exit 2 ;;
  esac
  shift
done
[[ $minutes =~ ^[0-9]+$ && -n $out && -n $build ]] || { echo "gpu_check: see --help" >&2; exit 2; }
IFS=, read -r -a parts <<<"$parts"
for part in "${parts[@]}"; do
  [[ $part =~ ^(build|tests|steps|sampling|kernels|sanitizer|torch)$ ]] ||
    { echo "gpu_check: unknown part $part" >&2; exit 2; }
done
if ((!emulate)) && ! scripts/gpu_answers.sh; then
  echo "gpu_check: no NVIDIA GPU answers on this machine (--emulate tries the script without one)"
  exit 77
fi

# Limits in seconds: what the parts may take, and with everything else done before.
declare -A limit=([build]=300 [tests]=200 [steps]=100 [sampling]=60 [kernels]=120 [sanitizer]=120 [torch]=180)
deadline=$((SECONDS + 60 * minutes))
export PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
export ITO_REQUIRE_DEVICE=1  # a test that finds no device fails
mkdir -p "$out" "$build/logs"
out=$(cd "$out" && pwd) build=$(cd "$build" && pwd)
logs=$build/logs
commands=$logs/commands.md
: >"$commands"
: >"$logs/begun"  # what is newer belongs to this call
cores=$(nproc)

if ((emulate)); then
  gpu='emulated device'
else
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader -i 0)
fi
label=$(date -u +%F)_$(tr -cs 'A-Za-z0-9' - <<<"${gpu#NVIDIA }" | sed 's/-*$//')
result=$out/$label.md

# run SECONDS LOG COMMAND...: at most SECONDS and no later than the deadline; appends to the list of
# commands. 124: stopped, 125: no time left to start it.
run() {
  local most=$1 log=$2 begin=$SECONDS left=$((deadline - SECONDS)) status
  shift 2
  ((most > left)) && most=$left
  if ((most < 3)); then
    status=125
    echo "not started: no time left" >"$log"
  else
    timeout -k 5 "$most" "$@" >"$log" 2>&1 </dev/null
    status=$?
  fi
  printf '| `%s` | %d s | %s |\n' "${*//|/\\|}" $((SECONDS - begin)) "$(verdict_of "$status")" >>"$commands"
  return "$status"
}
verdict_of() {
  case $1 in
    0) echo ok ;; 77) echo 'skipped' ;; 124 | 137) echo 'stopped at its time limit' ;;
    125) echo 'not started: no time left' ;; *) echo "FAILED, exit code $1" ;;
  esac
}
seconds_of() {  # part: what is left of the limit of the part that is running
  echo $((limit[$1] - (SECONDS - part_begin)))
}
# The worse of two exit codes: a failure before a stop before a skip.
worse() {
  local code
  for code in "$1" "$2"; do case $code in 0 | 77 | 124 | 125 | 137) ;; *) echo "$code"; return ;; esac; done
  for code in 124 137 125 77; do [[ $1 == "$code" || $2 == "$code" ]] && { echo "$code"; return; }; done
  echo 0
}

part_build() {
  local arguments=(-S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DITO_BUILD_BENCHMARKS=ON)
  command -v ninja >/dev/null && [[ ! -f $build/Makefile ]] && arguments+=(-G Ninja)
  [[ -n $deps ]] && arguments+=("-DCMAKE_PREFIX_PATH=$(cd "$deps" && pwd)/usr")
  if ((emulate)); then
    arguments+=(-DITO_CUDA=EMULATE)
  else
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader -i 0)
    arguments+=(-DITO_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${capability/./}-real")
  fi
  run "$(seconds_of build)" "$logs/configure.log" cmake "${arguments[@]}" || return
  local targets=()
  ((emulate)) && targets=(--target bench_kernels bench_train_step train_cifar10 sample test_tensor)
  run "$(seconds_of build)" "$logs/build.log" cmake --build "$build" -j "$cores" "${targets[@]}"
}

part_tests() {
  # Not the tests that build ito again or read random files, and no more at once than the device likes.
  local arguments=(--test-dir "$build" --output-on-failure -LE fuzz -E '^install_' -j $((cores < 8 ? cores : 8)))
  ((emulate)) && arguments+=(-R '^(test_tensor|bench_kernels)$')
  run "$(seconds_of tests)" "$logs/tests.log" ctest "${arguments[@]}" --timeout 120
}

part_steps() {
  local status=0 code preset dtype graph presets=(cifar10 mnist) size=(--batch 128 --steps 20 --warmup 5)
  ((emulate)) && presets=(tiny) size=(--batch 2 --steps 1 --warmup 2)
  : >"$logs/steps.jsonl"
  : >"$logs/steps.log"
  for preset in "${presets[@]}"; do
    for dtype in bf16 f32; do
      for graph in '' --no-graph; do
        run "$(seconds_of steps)" "$logs/step.log" "$build/bin/bench_train_step" --preset "$preset" --device cuda \
          --dtype "$dtype" ${graph:+"$graph"} "${size[@]}" --json
        code=$?
        status=$(worse "$status" "$code")
        if ((code == 0)); then
          grep '^{' "$logs/step.log" >>"$logs/steps.jsonl"
        else
          cat "$logs/step.log" >>"$logs/steps.log"
        fi
      done
    done
  done
  return "$status"
}

# Of a network that has learned for one step: how long it takes does not depend on what it knows.
part_sampling() {
  local network=(--dataset synthetic --batch 16) size=(--sampler ddpm --steps 1000 --count 256 --batch 256)
  if ((emulate)); then
    network=(--dataset synthetic --image-size 8 --channels 4 --multipliers 1,2 --blocks 1 --attention 4 --groups 2
      --batch 2 --timesteps 20)
    size=(--sampler ddpm --steps 20 --count 2)
  fi
  run "$(seconds_of sampling)" "$logs/sampling.log" "$build/bin/train_cifar10" "${network[@]}" --steps 1 \
    --sample-count 0 --device cuda --quiet --overwrite --out "$logs/run" || return
  local begin=$EPOCHREALTIME
  run "$(seconds_of sampling)" "$logs/sampling.log" "$build/bin/sample" --checkpoint "$logs/run" --device cuda \
    --dtype bf16 "${size[@]}" --out "$logs/samples.png" || return
  awk -v a="$begin" -v b="$EPOCHREALTIME" -v what="${size[*]}" \
    'BEGIN { printf "%.1f s for the whole program, from its start to the written PNG (%s)\n", b - a, what }' \
    >"$logs/sampling_time.log"
}

part_kernels() {
  local status arguments=(--json "$logs/kernels.json" --limit $(($(seconds_of kernels) - 15)))
  ((emulate)) && arguments+=(--smoke)
  run "$(seconds_of kernels)" "$logs/kernels.log" "$build/bin/bench_kernels" "${arguments[@]}"
  status=$?
  { ((status != 77)) && command -v "$python" >/dev/null; } || return "$status"
  # Also of a run that was stopped half-way.
  run 20 "$logs/plot.log" "$python" benchmarks/plot_kernels.py "$logs/kernels.json" "$logs/kernels.svg"
  run 20 "$logs/kernels.md" "$python" benchmarks/plot_kernels.py "$logs/kernels.json" --markdown ||
    mv "$logs/kernels.md" "$logs/plot.log"
  return "$status"
}

part_sanitizer() {
  local status=0 tool flags program pid jobs=()
  if ((emulate)) || ! command -v compute-sanitizer >/dev/null; then
    echo 'no compute-sanitizer, or no GPU for it, on this machine' >"$logs/sanitizer.log"
    return 77
  fi
  # All at once: these are slow, and nothing is timed.
  for tool in memcheck racecheck initcheck; do
    flags=(--tool "$tool" --error-exitcode 9)
    # Tests of errors make calls that have to fail: of memcheck, only what kernels do wrong counts.
    [[ $tool == memcheck ]] && flags+=(--report-api-errors no)
    for program in "$build"/bin/test_cuda*; do
      run "$(seconds_of sanitizer)" "$logs/$tool-${program##*/}.log" \
        compute-sanitizer "${flags[@]}" "$program" &
      jobs+=($!)
    done
  done
  for pid in "${jobs[@]}"; do
    wait "$pid"
    status=$(worse "$status" $?)
  done
  return "$status"
}

part_torch() {
  local status=0 code row
  if ((emulate)) || ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "$python has no PyTorch that sees a GPU" >"$logs/torch.log"
    return 77
  fi
  : >"$logs/torch.jsonl"
  # What is most worth knowing comes first: compiling takes a minute each.
  for row in 'cifar10 bf16 no' 'cifar10 bf16 default' 'mnist bf16 no' 'mnist bf16 reduce-overhead' \
    'cifar10 bf16_pure default' 'cifar10 f32 no' 'mnist f32 no'; do
    read -r -a row <<<"$row"
    run "$(seconds_of torch)" "$logs/torch.log" "$python" benchmarks/torch_ddpm_unet.py --device cuda --batch 128 \
      --steps 20 --warmup 5 --preset "${row[0]}" --dtype "${row[1]}" --compile "${row[2]}"
    code=$?
    status=$(worse "$status" "$code")
    ((code == 0)) && grep '^{' "$logs/torch.log" >>"$logs/torch.jsonl"
  done
  return "$status"
}

# ---- the parts

declare -A verdict took
failed=0
for part in "${parts[@]}"; do
  part_begin=$SECONDS
  echo "== $part"
  "part_$part"
  code=$?
  took[$part]=$((SECONDS - part_begin))
  verdict[$part]=$(verdict_of "$code")
  echo "   ${verdict[$part]}, ${took[$part]} s"
  case $code in 0 | 77) ;; *) failed=1 ;; esac
done

# ---- the report

tail_of() {  # LOG...: the end of the logs of what failed
  local log
  for log in "$@"; do
    [[ -s $log ]] || continue
    printf '\n%s ends with\n\n```\n' "${log##*/}"
    tail -n 25 "$log" | cut -c1-300
    echo '```'
  done
}
value() { sed -n "s/.*\"$2\": \"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$1"; }
step_rows() {  # FILE: one table row per line of JSON
  local line
  while IFS= read -r line; do
    printf '| %s | %s | %s | %s | %s | %s | %.0f |\n' "$(value "$line" peer)" "$(value "$line" preset)" \
      "$(value "$line" dtype)" "$(value "$line" "$2")" "$(value "$line" step_ms)" "$(value "$line" images_per_s)" \
      "$(awk -v b="$(value "$line" peak_bytes)" 'BEGIN { print b / 1e6 }')"
  done <"$1"
}
ran() { [[ -n ${verdict[$1]:-} ]]; }
bad() { ran "$1" && [[ ${verdict[$1]} != ok && ${verdict[$1]} != skipped ]]; }

report() {
  echo "# ito on $gpu, $(date -u '+%F %H:%M') UTC"
  echo
  ((emulate)) && printf '**A dry run on the emulated device: every time below is meaningless.**\n\n'
  echo "| | |"
  echo "|---|---|"
  if ((!emulate)); then
    echo "| GPU | $(nvidia-smi --query-gpu=name,memory.total,compute_cap --format=csv,noheader -i 0) |"
    echo "| driver | $(nvidia-smi --query-gpu=driver_version --format=csv,noheader -i 0) |"
    echo "| clocks now | $(nvidia-smi --query-gpu=clocks.sm,clocks.mem --format=csv,noheader -i 0) (SM, memory) |"
  fi
  echo "| nvcc | $(nvcc --version 2>/dev/null | sed -n 's/.*release //p' || true) |"
  echo "| host | $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $cores cores, $(uname -sr) |"
  echo "| compiler | $(c++ --version | head -1) |"
  echo "| source | $(git log -1 --format='%h %s' 2>/dev/null || echo 'no git here') |"
  echo
  echo "| part | result | time |"
  echo "|---|---|---|"
  for part in "${parts[@]}"; do echo "| $part | ${verdict[$part]} | ${took[$part]} s |"; done
  bad build && tail_of "$logs/configure.log" "$logs/build.log" &&
    printf '\n**Not everything was built: the other parts ran what was there.**\n'
  if ran tests; then
    printf '\n## Tests on the device\n\n```\n'
    grep -E 'tests passed|tests failed|^Total Test time' "$logs/tests.log"
    sed -n '/The following tests/,/^Errors while/p' "$logs/tests.log"
    echo '```'
    bad tests && tail_of "$logs/tests.log"
  fi
  if ran steps || ran torch; then
    printf '\n## A training step\n\n'
    echo 'Batch, noise, forward, backward, clipping, Adam and average; batch size 128; medians of 20 steps.'
    echo
    echo '| program | preset | dtype | graph, compile | ms per step | images/s | peak MB |'
    echo '|---|---|---|---|---|---|---|'
    [[ -s $logs/steps.jsonl ]] && ran steps && step_rows "$logs/steps.jsonl" graph
    [[ -s $logs/torch.jsonl ]] && ran torch && step_rows "$logs/torch.jsonl" compile
    bad steps && tail_of "$logs/steps.log"
    ran torch && [[ ${verdict[torch]} != ok ]] && tail_of "$logs/torch.log"
  fi
  if ran sampling; then
    printf '\n## Sampling\n\n'
    [[ ${verdict[sampling]} == ok ]] && cat "$logs/sampling_time.log"
    bad sampling && tail_of "$logs/sampling.log"
  fi
  if ran kernels; then
    printf '\n## Kernels\n\n'
    head -1 "$logs/kernels.log" | grep copy
    echo
    [[ -s $logs/kernels.svg ]] && echo "![Share of the roofline](${label}_kernels.svg)" && echo
    [[ -s $logs/kernels.md ]] && cat "$logs/kernels.md"
    bad kernels && tail_of "$logs/kernels.log"
  fi
  if ran sanitizer; then
    printf '\n## compute-sanitizer\n\n'
    [[ ${verdict[sanitizer]} == skipped ]] && cat "$logs/sanitizer.log"
    for log in "$logs"/{memcheck,racecheck,initcheck}-*.log; do
      [[ -f $log ]] && echo "- ${log##*/}: $(grep -E 'SUMMARY' "$log" | tail -1 | sed 's/^=* *//')"
    done
    bad sanitizer && tail_of "$logs"/{memcheck,racecheck,initcheck}-*.log
  fi
  printf '\n## Commands\n\n| command | time | result |\n|---|---|---|\n'
  cat "$commands"
}

report | sed "s,$PWD/,,g" >"$result"
for file in kernels.json kernels.svg steps.jsonl torch.jsonl; do
  [[ -s $logs/$file && $logs/$file -nt $logs/begun ]] || continue
  cp "$logs/$file" "$out/${label}_$file"
done
echo "written: $result"
exit "$failed"
