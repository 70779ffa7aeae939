#!/usr/bin/env bash
# Compiler launcher of ITO_CUDA_RESOURCES: runs nvcc (with -Xptxas=-v) and keeps the report of each
# kernel's registers, stack and spills as OBJECT.resources, for scripts/check_kernels.sh.
#   usage: nvcc_resources.sh nvcc ARGUMENT... -o OBJECT ...
set -uo pipefail
object=''
for ((i = 2; i < $#; ++i)); do
  [[ ${!i} == -o ]] && { next=$((i + 1)); object=${!next}; }
done
[[ -n $object ]] || exec "$@"
"$@" 2>"$object.resources"
status=$?
# The build shows what is not part of the report: warnings and errors.
grep -vE '^ptxas info|^ +[0-9]+ bytes (stack frame|gmem)|^$' "$object.resources" >&2
exit "$status"
