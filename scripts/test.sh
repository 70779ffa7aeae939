#!/usr/bin/env bash
# Installs what the tests need, builds and tests. docs/testing.md says what runs where.
#   usage: scripts/test.sh             one optimised build with the emulated GPU, everything quick: before each commit
#          scripts/test.sh all         that and the rest: sanitizers, fuzzing, nvcc, what is slow, a GPU if there is one
#          scripts/test.sh rest        the rest alone
#          scripts/test.sh STAGE...    of packages format quick slow gpu asan tsan fuzz nvcc
# The logs are in build/test-logs/. Exit code 0 when every stage passed.
set -uo pipefail
cd "$(dirname "$0")/.."
SECONDS=0
quick=(packages format quick)
rest=(slow gpu asan tsan fuzz nvcc)
case "${*:-}" in
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
  "") stages=("${quick[@]}") ;;
  all) stages=("${quick[@]}" "${rest[@]}") ;;
  rest) stages=("${rest[@]}") ;;
  *)
    stages=("$@")
    for stage in "$@"; do
      if [[ $stage == *" "* || " ${quick[*]} ${rest[*]} " != *" $stage "* ]]; then
        echo "test.sh: no stage is called $stage; stages: ${quick[*]} ${rest[*]}; or all, or rest" >&2
        exit 2
      fi
    done
    ;;
esac
logs=$PWD/build/test-logs
mkdir -p "$logs"
[[ ${*:-} == rest ]] || rm -f "$logs"/*-ctest.log  # of earlier calls; `rest` goes on where a call without it ended
jobs=$(nproc)
export CTEST_OUTPUT_ON_FAILURE=1
ctest_wrapper=()
export ITO_REQUIRE_TORCH=1  # python3-torch is installed above: its tests may not be skipped

# Everything in tests/cuda, whose programs are named test_cuda_*.
cuda_tests=tests/cuda/all
# The programs in which threads of the host meet, or threads of a kernel on the emulated device.
threaded=(test_tensor test_autograd test_ops test_nn test_unet test_learning)

configure_and_build() {  # preset [target...]
  local preset=$1 begin=$SECONDS
  shift
  cmake --preset "$preset" >"$logs/$preset-configure.log" 2>&1 ||
    { cat "$logs/$preset-configure.log"; return 1; }
  grep -A9 -- '-- ito ' "$logs/$preset-configure.log" | sed 's/^-- //'
  cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} -- -k 0 >"$logs/$preset-build.log" 2>&1 ||
    { grep -E -A12 'error|FAILED' "$logs/$preset-build.log" | head -80; return 1; }
  echo "build/$preset: built in $((SECONDS - begin)) s"
}

run_ctest() {  # preset [ctest arguments...]
  local preset=$1
  shift
  "${ctest_wrapper[@]}" ctest --test-dir "build/$preset" --no-tests=error -j "$jobs" "$@" 2>&1 |
    tee -a "$logs/$stage-ctest.log"
  return "${PIPESTATUS[0]}"
}

stage_packages() { scripts/install_packages.sh test; }
stage_format() { scripts/format.sh --check; }
# The build as users have it, with the emulated device beside the CPU.
stage_quick() { configure_and_build emulate && run_ctest emulate -LE slow; }
# Minutes each: long training, whole steps at full width, the programs on the emulated device.
stage_slow() { configure_and_build emulate && run_ctest emulate -L slow; }
stage_gpu() {
  if ! scripts/gpu_answers.sh; then
    echo "SKIPPED: no NVIDIA GPU answers; the emulated device stood in for it"
    return 0
  fi
  configure_and_build release && run_ctest release
}
# CPU and emulated device, compiled for any x86-64, so that the kernels also run with narrow vectors.
stage_asan() { configure_and_build emulate-asan && run_ctest emulate-asan -LE 'fuzz|slow'; }
# Without address randomisation, where that can be asked for: ThreadSanitizer of g++ 12 does not start on some
# kernels otherwise.
stage_tsan() {
  local ctest_wrapper=()
  setarch -R true 2>/dev/null && ctest_wrapper=(setarch -R)
  configure_and_build emulate-tsan "$cuda_tests" "${threaded[@]}" &&
    run_ctest emulate-tsan -R "^(test_cuda.*|test_ops_table|$(IFS='|'; echo "${threaded[*]}"))\$"
}
# By clang and without CUDA: the fuzz targets, and a test that differs without CUDA.
stage_fuzz() {
  configure_and_build fuzz fuzzers test_training_step &&
    run_ctest fuzz -L fuzz && run_ctest fuzz -R '^test_training_step$'
}
# Device code for two generations of GPUs, linked; the kernels' resources. One file at a time, so that each is seen to
# include what it uses. Nothing runs.
stage_nvcc() {
  if ! command -v nvcc >/dev/null; then
    echo "SKIPPED: no nvcc on this machine, device code was not compiled"
    return 0
  fi
  configure_and_build cuda ito "$cuda_tests" bench_kernels && scripts/check_kernels.sh build/cuda
}

failed=()
summary=()
for stage in "${stages[@]}"; do
  echo "==== $stage"
  begin=$SECONDS
  rm -f "$logs/$stage-ctest.log"
  if "stage_$stage"; then verdict=passed; else verdict=FAILED; failed+=("$stage"); fi
  summary+=("$(printf '%-9s %-6s %5d s' "$stage" "$verdict" $((SECONDS - begin)))")
done

logs_of_tests=()
for log in "$logs"/*-ctest.log; do [[ -f $log ]] && logs_of_tests+=("$log"); done
if ((${#logs_of_tests[@]})); then
  echo "==== the twenty slowest tests, in seconds"
  awk 'match($0, /Test +#[0-9]+: /) && $NF == "sec" {
    name = substr($0, RSTART + RLENGTH); sub(/ .*/, "", name)
    build = FILENAME; sub(/.*\//, "", build); sub(/-ctest.log/, "", build)
    printf "%8.1f  %-6s %s\n", $(NF - 1), build, name
  }' "${logs_of_tests[@]}" | sort -rn | head -20
  echo "==== ctest's closing lines"
  for log in "${logs_of_tests[@]}"; do
    grep -E 'tests passed|Total Test time|^The following|^[[:space:]]+[0-9]+ - ' "$log" |
      sed "s/^/$(basename "$log" -ctest.log): /"
  done
fi
echo "==== stages"
printf '%s\n' "${summary[@]}"
printf '%-16s %5d s\n' together "$SECONDS"
if ((${#failed[@]})); then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
grep -h 'tests passed' "$logs"/*-ctest.log 2>/dev/null
exit 0
