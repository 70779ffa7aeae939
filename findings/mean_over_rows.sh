#!/usr/bin/env bash
# NumPy 2.4.6 adds float32 numbers pairwise only along the axis that lies together in memory. The mean over the rows
# of a C-ordered array, the usual layout of features and pixels, adds one row after the other, and its error grows
# with their number. Two million rows of 0.1 have the mean 0.0985; the transposed copy has 0.1000. Statistics of a
# data set (its mean image, the mean of features for FID) need dtype=np.float64.
# Seen:
#   over rows 0.09851, along memory 0.10000, over rows in float64 0.10000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np

x = np.full((2_000_000, 2), 0.1, np.float32)
rows = x.mean(axis=0)[0]
memory = np.ascontiguousarray(x.T).mean(axis=1)[0]
double = x.mean(axis=0, dtype=np.float64)[0]
print(f"over rows {rows:.5f}, along memory {memory:.5f}, over rows in float64 {double:.5f}")
raise SystemExit(not (abs(rows - 0.1) > 1e-3 and abs(memory - 0.1) < 1e-6 and abs(double - 0.1) < 1e-6))
PYTHON
