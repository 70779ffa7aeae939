#!/usr/bin/env bash
# Checks who includes whom (docs/architecture.md, "Layers"). usage: check.sh ROOT
# Prints each include that breaks the table and exits 1 if there is one. A file may always include its
# neighbour in the same folder. Also that fmt::join comes with its header.
set -euo pipefail
cd "$1"

# fmt 9 and 10 also have fmt::join in format.h, fmt 11 and newer in ranges.h alone.
missing=$(grep -rlE 'fmt::join\(' --include='*.h' --include='*.cpp' --include='*.cu' \
  --exclude-dir=build --exclude-dir=out . | xargs -r grep -L '#include <fmt/ranges.h>' || true)
if [[ -n $missing ]]; then
  echo "fmt::join without #include <fmt/ranges.h>:" $missing
  exit 1
fi

find . \( -path ./build -o -path ./out -o -path ./tests/install \) -prune -o \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -printf '%P\n' |
  sort | xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' |
  awk -F: '
    # What files in a folder may include; the longest matching folder decides.
    BEGIN {
      all = "tensor autograd nn diffusion data"
      allowed["tensor"] = "tensor"
      allowed["cuda"] = "cuda tensor/kernels tensor/build.h tensor/dtype.h tensor/device.h" \
                        " tensor/error.h tensor/math.h tensor/philox.h"
      allowed["cuda/emulate"] = "cuda tensor/dtype.h tensor/math.h"
      allowed["data"] = "tensor data"
      allowed["autograd"] = "tensor autograd"
      allowed["nn"] = "tensor autograd nn"
      # diffusion/: what noise does, what an output means, and above these what uses them.
      base = "tensor autograd diffusion/process"
      allowed["diffusion/process"] = base
      allowed["diffusion/denoiser"] = base " diffusion/denoiser"
      allowed["diffusion/likelihood"] = base " diffusion/denoiser diffusion/likelihood"
      allowed["diffusion/objective"] = base " diffusion/denoiser diffusion/likelihood diffusion/objective"
      allowed["diffusion/sampling"] = base " diffusion/denoiser diffusion/sampling"
      allowed["diffusion/models"] = base " nn data diffusion/denoiser diffusion/models"
      allowed["diffusion/training"] = "tensor autograd nn data diffusion/training"
      allowed["diffusion/evaluation"] = "tensor autograd diffusion/evaluation"
      allowed["diffusion/diffusion.h"] = "diffusion"
      allowed["examples"] = all " examples ito.h"
      allowed["tests"] = all " cuda/emulate/emulate.h examples tests ito.h"
      allowed["tests/benchmarks"] = all " benchmarks tests ito.h"
      allowed["tests/cuda"] = all " cuda tests ito.h"
      allowed["tests/docs/adding_an_op"] = all " cuda tests ito.h"
      allowed["benchmarks"] = all " cuda tests benchmarks ito.h"
      allowed["ito.h"] = all
    }
    function rule_of(file) {
      while (!(file in allowed) && sub("/[^/]*$", "", file)) continue
      return file in allowed ? allowed[file] : ""
    }
    {
      file = $1
      split($0, quoted, "\"")
      included = quoted[2]
      folder = file
      if (!sub("/[^/]*$", "", folder)) folder = "."
      rule = rule_of(file)
      ok = included !~ "/" && folder != "." && (getline line < (folder "/" included)) >= 0
      close(folder "/" included)
      n = split(rule, prefixes, " ")
      for (i = 1; i <= n; ++i) {
        if (included == prefixes[i] || index(included, prefixes[i] "/") == 1) ok = 1
      }
      # How nodes of the tape look is internal to autograd/, kernels to the library.
      if (included == "autograd/node.h" && file !~ "^autograd/" && file !~ "^tests/") ok = 0
      if (!ok) {
        printf "%s:%s: may not include \"%s\" (allowed: %s)\n", file, $2, included, rule
        bad = 1
      }
      ++checked
    }
    END {
      printf "%d includes checked\n", checked
      exit bad || checked == 0
    }'
