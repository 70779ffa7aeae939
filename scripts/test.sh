#!/usr/bin/env bash
# Installs what the tests need, builds every configuration and runs everything. Continuous integration
# is this script.
#   usage: scripts/test.sh [STAGE...]
#   stages: packages format release asan tsan fuzz emulate nvcc      (default: all, in this order)
# The logs are in build/test-logs/. Exit code 0 when every stage passed.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=$PWD/build/test-logs
mkdir -p "$logs"
rm -f "$logs"/*-ctest.log  # of earlier calls
jobs=$(nproc)
export CTEST_OUTPUT_ON_FAILURE=1
configure_arguments=()
ctest_wrapper=()
export ITO_REQUIRE_TORCH=1  # python3-torch is installed above: its tests may not be skipped

# Everything in tests/cuda, whose programs are named test_cuda_*.
cuda_tests=tests/cuda/all
# The programs in which threads of the host meet, or threads of a kernel on the emulated device.
threaded=(test_tensor test_autograd test_ops test_nn test_unet test_learning)
# They train for minutes on the emulated device.
cpu_only='^(programs_(evaluate|cifar10)|first_program|test_points_learning|test_preset_step|test_unet_parity_cifar10)$'

configure_and_build() {  # preset [target...]; more arguments for CMake in configure_arguments
  local preset=$1
  shift
  cmake --preset "$preset" "${configure_arguments[@]}" >"$logs/$preset-configure.log" 2>&1 ||
    { cat "$logs/$preset-configure.log"; return 1; }
  grep -A9 -- '-- ito ' "$logs/$preset-configure.log" | sed 's/^-- //'
  cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} -- -k 0 >"$logs/$preset-build.log" 2>&1 ||
    { grep -E -A12 'error|FAILED' "$logs/$preset-build.log" | head -80; return 1; }
}

run_ctest() {  # preset [ctest arguments...]
  local preset=$1
  shift
  "${ctest_wrapper[@]}" ctest --test-dir "build/$preset" -j "$jobs" "$@" 2>&1 | tee -a "$logs/$preset-ctest.log"
  return "${PIPESTATUS[0]}"
}

stage_packages() { scripts/install_packages.sh test; }
stage_format() { scripts/format.sh --check; }
# The GPU of this machine. Without one, the optimised build is the one with the emulated device below.
stage_release() {
  if ! scripts/gpu_answers.sh; then
    echo "no NVIDIA GPU answers: stage emulate runs everything, on the CPU and the emulated device"
    return 0
  fi
  configure_and_build release && run_ctest release
}
# CPU and emulated device: everything but what would only repeat the release run; compiled for any x86-64,
# so that the kernels also run with narrow vectors. The programs run without the device: on it they take minutes.
stage_asan() {
  configure_and_build emulate-asan || return 1
  run_ctest emulate-asan -LE 'install|fuzz|slow' -E '^programs_' &&
    ITO_EMULATE_ERROR=100 run_ctest emulate-asan -LE slow -R '^programs_' -E '^programs_device$'
}
# Without address randomisation, where that can be asked for: ThreadSanitizer of g++ 12 does not start on some
# kernels otherwise.
stage_tsan() {
  local ctest_wrapper=()
  setarch -R true 2>/dev/null && ctest_wrapper=(setarch -R)
  configure_and_build emulate-tsan "$cuda_tests" "${threaded[@]}" &&
    run_ctest emulate-tsan -R "^(test_cuda.*|test_ops_table|$(IFS='|'; echo "${threaded[*]}"))\$"
}
# By clang and without CUDA: the fuzz targets, and a test that differs without it.
stage_fuzz() {
  configure_and_build fuzz fuzzers test_training_step &&
    run_ctest fuzz -L fuzz && run_ctest fuzz -R '^test_training_step$'
}
# What is too slow for sanitizers on the emulated device: the programs, and the benchmarks of the kernels; two of
# the programs and the slow tests take minutes even here, and run on the CPU only. Where no GPU answers, also
# everything else: this is then the build as users have it.
stage_emulate() {
  if scripts/gpu_answers.sh; then
    configure_and_build emulate examples/all tests/programs/all "$cuda_tests" bench_kernels &&
      run_ctest emulate -R '^(programs_|test_cuda|bench_kernels)' -E '^programs_(evaluate|cifar10)$'
    return
  fi
  configure_and_build emulate || return 1
  run_ctest emulate -E "$cpu_only" && ITO_EMULATE_ERROR=100 run_ctest emulate -R "$cpu_only"
}
# Device code for two generations of GPUs, linked; the kernels' resources. Nothing runs, so the host's code need
# not be fast.
stage_nvcc() {
  if ! command -v nvcc >/dev/null; then
    echo "SKIPPED: no nvcc on this machine, device code was not compiled"
    return 0
  fi
  local configure_arguments=(-DCMAKE_CXX_FLAGS_RELEASE=-O0)
  configure_and_build cuda ito "$cuda_tests" bench_kernels && scripts/check_kernels.sh build/cuda
}

stages=("$@")
((${#stages[@]})) || stages=(packages format release asan tsan fuzz emulate nvcc)
failed=()
summary=()
for stage in "${stages[@]}"; do
  echo "==== $stage"
  begin=$SECONDS
  if "stage_$stage"; then verdict=passed; else verdict=FAILED; failed+=("$stage"); fi
  summary+=("$(printf '%-9s %-6s %5d s' "$stage" "$verdict" $((SECONDS - begin)))")
done

echo "==== ctest's closing lines"
for log in "$logs"/*-ctest.log; do
  [[ -f $log ]] && sed -n "/tests passed/,\$p" "$log" | sed "s/^/$(basename "$log" -ctest.log): /"
done
echo "==== summary"
printf '%s\n' "${summary[@]}"
if ((${#failed[@]})); then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
grep -h 'tests passed' "$logs"/*-ctest.log 2>/dev/null
exit 0
