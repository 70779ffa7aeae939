#!/usr/bin/env bash
# Exit code 0 when this machine has an NVIDIA GPU and a driver, 1 when not.
if command -v nvidia-smi >/dev/null; then
  nvidia-smi -L 2>/dev/null | grep -q '^GPU '
else
  [[ -e /dev/nvidia0 ]]
fi
