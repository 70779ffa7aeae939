#!/usr/bin/env bash
# The Python package gguf 0.19.0 turns shapes around: a NumPy array of shape (2, 3) is stored as 3, 2, the fastest
# axis first, and its own reader gives both orders for one tensor, .shape as stored and .data as the array was.
# Code that reshapes .data to .shape gets the numbers in wrong places without an error.
# Seen:
#   written (2, 3), read .shape (3, 2), .data.shape (2, 3)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q gguf==0.19.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import gguf
import numpy as np

array = np.arange(6, dtype=np.float32).reshape(2, 3)
writer = gguf.GGUFWriter("tensor.gguf", "test")
writer.add_tensor("w", array)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
tensor = gguf.GGUFReader("tensor.gguf").tensors[0]
shape = tuple(int(n) for n in tensor.shape)
print(f"written {array.shape}, read .shape {shape}, .data.shape {tensor.data.shape}")
raise SystemExit(not (shape == (3, 2) and tensor.data.shape == (2, 3) and (tensor.data == array).all()))
PYTHON
