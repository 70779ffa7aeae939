#!/usr/bin/env bash
# np.save and np.savez of NumPy 2.4.6 lose the type of bfloat16 arrays (of ml_dtypes 0.7.0, the type that JAX hands
# out): the header says "|V2", two bytes without a meaning, and np.load gives such an array. No warning, no error;
# the bytes are right, and .view(bfloat16) makes numbers of them again for one who knows what they were.
# Seen:
#   saved bfloat16, loaded |V2, values back after a view: True
#   arithmetic on what was loaded: UFuncTypeError
#   in an npz: |V2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q numpy==2.4.6 ml_dtypes==0.7.0
venv/bin/python - <<'PYTHON'
import warnings

import numpy as np
from ml_dtypes import bfloat16

warnings.simplefilter("error")
array = np.arange(4).astype(bfloat16)
np.save("array.npy", array)
loaded = np.load("array.npy")
same = bool((loaded.view(bfloat16) == array).all())
print(f"saved {array.dtype}, loaded {loaded.dtype}, values back after a view: {same}")
try:
    loaded + 1
    error = "none"
except TypeError as e:
    error = type(e).__name__.lstrip("_")
print(f"arithmetic on what was loaded: {error}")
np.savez("array.npz", x=array)
zipped = np.load("array.npz")["x"].dtype
print(f"in an npz: {zipped}")
raise SystemExit(not (loaded.dtype == np.dtype("V2") == zipped and same and error != "none"))
PYTHON
