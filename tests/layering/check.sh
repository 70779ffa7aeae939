#!/usr/bin/env bash
# Checks who includes whom (docs/architecture.md, "Layers"). usage: check.sh ROOT
# Prints each include that breaks the table and exits 1 if there is one.
set -euo pipefail
cd "$1"

# folder: what files in it may include. The longest matching folder decides.
allowed() {
  case $1 in
    tensor/*) echo "tensor" ;;
    cuda/emulate/*) echo "cuda" ;;
    cuda/*) echo "cuda tensor/kernels tensor/build.h tensor/dtype.h tensor/device.h tensor/error.h tensor/philox.h" ;;
    data/*) echo "tensor data" ;;
    autograd/*) echo "tensor autograd" ;;
    nn/*) echo "tensor autograd nn" ;;
    diffusion/models/*) echo "tensor autograd nn diffusion" ;;
    diffusion/*) echo "tensor autograd diffusion" ;;
    examples/*) echo "tensor autograd nn diffusion data examples ito.h" ;;
    benchmarks/*) echo "tensor autograd nn diffusion data examples benchmarks tests ito.h" ;;
    tests/cuda/*) echo "tensor autograd nn diffusion data cuda tests ito.h" ;;
    tests/*) echo "tensor autograd nn diffusion data examples tests ito.h" ;;
    ito.h) echo "tensor autograd nn diffusion data" ;;
    *) echo "" ;;
  esac
}

bad=0
checked=0
while IFS=: read -r file line text; do
  included=$(sed -E 's/^[^"]*"([^"]+)".*/\1/' <<<"$text")
  checked=$((checked + 1))
  ok=no
  for prefix in $(allowed "$file"); do
    if [[ $included == "$prefix" || $included == "$prefix"/* ]]; then ok=yes; fi
  done
  # diffusion/*.h are for any network: only diffusion/models/ knows modules.
  if [[ $included == diffusion/models/* && $file == diffusion/* && $file != diffusion/models/* ]]; then
    ok=no
  fi
  if [[ $ok == no ]]; then
    echo "$file:$line: may not include \"$included\" (allowed: $(allowed "$file"))"
    bad=1
  fi
done < <(find . -path ./build -prune -o -path ./out -prune -o -path './tests/install' -prune -o \
           \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print |
         sed 's|^\./||' | sort | xargs grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' || true)
echo "$checked includes checked"
[[ $checked -gt 0 ]] || { echo "nothing to check in $1"; exit 1; }
exit $bad
