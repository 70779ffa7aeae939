#!/usr/bin/env bash
# nvcc 13.0.88 with -arch=native succeeds where no GPU answers, with one line of warning ("Cannot find valid GPU for
# '-arch=native', default arch is used"), and compiles for its default, sm_75. A build machine without a GPU, such as a
# container, so makes code without anything of newer GPUs, and an exit status of 0. -Werror all-warnings does not
# change that.
# Seen, with the GPUs of the machine hidden:
#   exit 0, warned, code for sm_75; with -Werror all-warnings exit 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CUDA_VISIBLE_DEVICES=
python3 -m venv venv
venv/bin/pip install -q nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96
cuda=$(echo venv/lib/python3*/site-packages/nvidia/cu13)
echo '__global__ void one(float* p) { p[0] = 1; }' >one.cu
compile() { "$cuda/bin/nvcc" -arch=native -cubin "$@" -o one.cubin one.cu 2>&1; }
plain=0 strict=0
text=$(compile) || plain=$?
compile -Werror all-warnings >/dev/null || strict=$?
echo "$text"
warned=$(grep -c "Cannot find valid GPU for '-arch=native'" <<<"$text" || true)
# The architecture stands in bits 8 to 15 of the ELF header's flags.
sm=$(python3 -c 'print(int.from_bytes(open("one.cubin", "rb").read()[48:52], "little") >> 8 & 255)')
echo "exit $plain, warnings $warned, code for sm_$sm; with -Werror all-warnings exit $strict"
((plain == 0 && warned == 1 && sm == 75 && strict == 0))
