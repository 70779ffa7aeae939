#!/usr/bin/env bash
# Checks what nvcc made of the kernels, without a GPU:
#   1. no kernel spills registers or keeps anything in local memory (a stack frame), except those named below;
#   2. the tensor-core kernels hold tensor-core instructions: in the machine code where cuobjdump and nvdisasm are,
#      else in the PTX (mma.sync, which the assembler has to turn into them);
#      A toolkit without them: pip install --target DIR nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm.
#   3. the check itself notices a kernel that keeps an array in local memory.
#   usage: scripts/check_kernels.sh BUILD_DIR [--table]
#     BUILD_DIR  built with ITO_CUDA_RESOURCES (preset cuda)
#     --table    also prints every kernel's registers, shared memory, stack and spills
# Exit codes: 0 all well, 1 a kernel is wrong, 2 wrong usage, 77 no nvcc.
set -uo pipefail
cd "$(dirname "$0")/.."

# Local memory that is meant to be: the slow path of a library function (sine of a huge angle).
allowed='::Sin>|::Cos>|sinusoids'
# Tensor-core kernels: what includes the tiles that they are made of.
mapfile -t tensor_core_files < <(grep -lE '#include "cuda/[a-z_]*tensor_core\.h"' cuda/*.cu)

build=${1:-}
[[ -n $build && -d $build && ($# == 1 || ($# == 2 && $2 == --table)) ]] ||
  { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }
command -v nvcc >/dev/null || { echo "check_kernels: no nvcc on this machine"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
wrong() { printf 'WRONG  %s\n' "$*"; status=1; }

# One line per kernel and architecture: architecture registers shared stack spill_stores spill_loads name
table() {  # FILE...
  awk '
    /Compiling entry function/ { split($0, quoted, "\047"); name = quoted[2]; arch = quoted[4]; kernel = 1 }
    /Function properties for/ && $NF != name { kernel = 0 }   # a function that was not inlined
    /Function properties for/ && $NF == name { kernel = 1 }
    kernel && /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
    kernel && /Used [0-9]+ registers/ {
      shared = 0
      for (i = 2; i <= NF; ++i) if ($i ~ /^smem/) shared = $(i - 2)
      for (i = 2; i <= NF; ++i) if ($i ~ /^registers/) registers = $(i - 1)
      print arch, registers, shared, stack, stores, loads, name
    }' "$@" | c++filt -p | sed 's/(anonymous namespace):://g; s/ito::cuda:://g' | sort -u
}
with_local_memory() { awk '$4 > 0 || $5 > 0 || $6 > 0' "$1"; }

mapfile -t reports < <(find "$build" -name '*.cu.o.resources' | sort)
((${#reports[@]})) || { echo "check_kernels: no reports in $build: configure with -DITO_CUDA_RESOURCES=ON"; exit 2; }
table "${reports[@]}" >"$work/table"
[[ ${2:-} == --table ]] && {
  echo "arch registers shared stack spill_stores spill_loads kernel"
  cat "$work/table"
}
echo "$(wc -l <"$work/table") kernels of $(cut -d' ' -f1 "$work/table" | sort -u | tr '\n' ' ')from ${#reports[@]} files"
[[ -s $work/table ]] || wrong "the reports name no kernel"
while read -r arch registers shared stack stores loads name; do
  if [[ $name =~ $allowed && $stores == 0 && $loads == 0 ]]; then
    echo "allowed: $arch $name: $stack bytes of stack"
  else
    wrong "$arch $name: $stack bytes of stack, $stores and $loads bytes of spills"
  fi
done < <(with_local_memory "$work/table")

((${#tensor_core_files[@]})) || wrong "no file includes the tensor cores' tiles"
for file in "${tensor_core_files[@]}"; do
  object=$(find "$build" -path "*/$file.o" | head -1)
  if [[ -z $object ]]; then
    wrong "$file: not built in $build"
  elif command -v cuobjdump >/dev/null && command -v nvdisasm >/dev/null; then
    count=$(cuobjdump -sass "$object" | grep -c 'HMMA')
    echo "$file: $count HMMA instructions in the machine code"
    ((count)) || wrong "$file: no HMMA instruction"
  else
    nvcc -std=c++20 --expt-relaxed-constexpr -arch=sm_80 -I. -ptx "$file" -o "$work/file.ptx" ||
      wrong "$file: does not compile to PTX"
    count=$(grep -c 'mma.sync.aligned' "$work/file.ptx")
    echo "$file: $count mma.sync instructions in the PTX (no disassembler here)"
    ((count)) || wrong "$file: no mma.sync instruction"
  fi
done

# Negative control: an array indexed by a value that is known only at run time.
cat >"$work/wrong.cu" <<'CUDA'
__global__ void keeps_an_array_in_local_memory(const int* index, float* x) {
  float kept[64];
  for (int i = 0; i < 64; ++i) kept[i] = x[index[i]];
  for (int i = 0; i < 64; ++i) x[i] = kept[index[i] % 64] + kept[index[2 * i] % 64];
}
CUDA
nvcc -arch=sm_80 -Xptxas=-v -cubin "$work/wrong.cu" -o "$work/wrong.cubin" 2>"$work/wrong.resources"
table "$work/wrong.resources" >"$work/wrong_table"
[[ -n $(with_local_memory "$work/wrong_table") ]] ||
  wrong "a kernel with an array in local memory was not noticed"

((status == 0)) && echo "kernels: no spills, no local memory"
exit "$status"
