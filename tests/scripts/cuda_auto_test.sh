#!/usr/bin/env bash
# Tests what ITO_CUDA=AUTO and ON decide (third_party/cuda.cmake), with an nvidia-smi that says what this test
# wants. Configures only.
#   usage: cuda_auto_test.sh SOURCE_DIR [CMAKE_ARGUMENT...]
# Exit codes: 0 passed, 1 something is wrong, 77 passed as far as that goes without nvcc.
set -uo pipefail
source_dir=$1
shift
arguments=(-DITO_BUILD_TESTS=OFF -DITO_BUILD_EXAMPLES=OFF "$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset CUDAARCHS
export PATH=$work/bin:$PATH
failures=0

# nvidia-smi: what is in $work/gpus, one GPU a line.
mkdir "$work/bin"
cat >"$work/bin/nvidia-smi" <<'SMI'
#!/usr/bin/env bash
gpus=$(dirname "$0")/../gpus
[[ -s $gpus ]] || { echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."; exit 9; }
case $1 in
  -L) sed 's/^.*$/GPU 0: something (UUID: GPU-0)/' "$gpus" ;;
  --query-gpu=compute_cap) cat "$gpus" ;;
  *) exit 2 ;;
esac
SMI
chmod +x "$work/bin/nvidia-smi"
gpus() {  # LINE...
  : >"$work/gpus"
  (($# == 0)) || printf '%s\n' "$@" >"$work/gpus"
}
configure() {  # FOLDER ARGUMENT...
  local folder=$work/$1
  shift
  cmake -S "$source_dir" -B "$folder" -G Ninja "${arguments[@]}" "$@" >"$work/log" 2>&1
}
check() {  # DESCRIPTION TEXT: the log has this text
  if grep -qF -- "$2" "$work/log"; then
    echo "ok    $1"
  else
    echo "WRONG $1: no \"$2\" in"
    grep -E 'CUDA|rror' "$work/log" | sed 's/^/      | /'
    ((++failures))
  fi
}

# --- without device code
gpus
configure auto
check "no GPU: without" "CUDA         OFF (ITO_CUDA=AUTO: no NVIDIA GPU answers"
check "and how to ask for it" "ITO_CUDA=ON builds for sm_80 and newer, with CMAKE_CUDA_ARCHITECTURES="
[[ $(grep -c CUDA "$work/log") == 1 ]]
check "in one line" "$( (($? == 0)) && echo 'CUDA         OFF' || echo 'one line')"
configure auto -DCMAKE_CUDA_ARCHITECTURES=native
check "native without a GPU: without" "CUDA         OFF (ITO_CUDA=AUTO: no NVIDIA GPU answers"
configure auto -UCMAKE_CUDA_ARCHITECTURES
gpus 7.5
configure auto
check "an older GPU: without, and why" "CUDA         OFF (ITO_CUDA=AUTO: the kernels need sm_80; the GPU of this machine is sm_75)"
if [[ ! -e /dev/nvidia0 ]]; then
  gpus '[N/A]' 'No devices; were found' '9' '8.66' 'v9.0'
  configure auto
  check "nonsense: without, and why" "nvidia-smi does not tell its compute capability"
fi
gpus 9.0
configure auto -DITO_CUDA=OFF
check "OFF stays OFF beside a GPU" "CUDA         OFF (ITO_CUDA=OFF)"
configure auto -DITO_CUDA=AUTO -DITO_SANITIZE=address
check "sanitizers: without" "CUDA         OFF (ITO_CUDA=AUTO: nvcc knows no sanitizers)"

# --- with
configure auto -DITO_SANITIZE=
if ! grep -q 'CUDA         ON' "$work/log"; then
  check "a GPU without nvcc: without, and why" "CUDA         OFF (ITO_CUDA=AUTO: no nvcc that works"
  echo "SKIPPED: no nvcc on this machine, so nothing that is built for a GPU was tested"
  ((failures)) && exit 1
  exit 77
fi
check "the GPU appeared: for it, in the same folder" " for sm_90;"
gpus 9.0 8.6 '[N/A]' 9.0
configure auto
check "two kinds of GPUs, one of them twice, and nonsense" " for sm_86 sm_90;"
gpus 7.5 8.0
configure auto
check "an older GPU beside another" " for sm_80;"
gpus 99.9
configure auto
check "a GPU that nvcc does not know" " for PTX compute_90;"
gpus 7.5
configure auto -DCMAKE_CUDA_ARCHITECTURES='80-real;90'
check "named architectures win over the GPU" " for sm_80 sm_90, PTX compute_90;"
configure auto -DCMAKE_CUDA_ARCHITECTURES=75
check "but must be new enough" "OFF (ITO_CUDA=AUTO: the kernels need sm_80; CMAKE_CUDA_ARCHITECTURES has 75)"
gpus
configure auto -DCMAKE_CUDA_ARCHITECTURES=86-real
check "and win without a GPU" " for sm_86;"
configure auto -UCMAKE_CUDA_ARCHITECTURES
check "no longer named, and no GPU: without" "CUDA         OFF (ITO_CUDA=AUTO: no NVIDIA GPU answers"
gpus 8.6
configure auto -DCMAKE_CUDA_ARCHITECTURES=native
check "native is the GPU" " for sm_86;"
full=" for sm_80 sm_86 sm_89 sm_90, PTX compute_90;"
gpus
configure auto -DITO_CUDA=ON -UCMAKE_CUDA_ARCHITECTURES
check "ON without a GPU: everything" "$full"
gpus 8.6
configure auto
check "and stays so beside one" "$full"
configure auto -DITO_CUDA=AUTO
check "back to AUTO: for the GPU" " for sm_86;"
cat >"$work/version_0.1.cmake" <<'CACHE'
set(CMAKE_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;90-virtual"
    CACHE STRING "GPU architectures to compile for")
CACHE
configure auto -C "$work/version_0.1.cmake"
check "a folder of version 0.1: for the GPU" " for sm_86;"
CUDAARCHS=80-real configure auto
check "CUDAARCHS wins" " for sm_80;"

((failures == 0)) || exit 1
echo passed
