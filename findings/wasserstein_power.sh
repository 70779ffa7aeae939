#!/usr/bin/env bash
# Two functions of POT 0.9.7.post1 with p = 2 and nearly the same name give different things on a line: wasserstein_1d
# the square of the distance, sliced_wasserstein_distance the distance. On one axis they are otherwise the same number.
# Numbers of the two in one table, or of a paper that used the other, are off by a square.
# Seen, all points at 0 against all points at 3:
#   wasserstein_1d 9.0, sliced_wasserstein_distance 3.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q pot==0.9.7.post1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import ot

x, y = np.zeros(5), np.full(5, 3.0)
line = float(np.squeeze(ot.wasserstein_1d(x, y, p=2)))
sliced = float(ot.sliced_wasserstein_distance(x[:, None], y[:, None], p=2, seed=0))
print(f"wasserstein_1d {line:.1f}, sliced_wasserstein_distance {sliced:.1f}")
raise SystemExit(not (abs(line - 9) < 1e-9 and abs(sliced - 3) < 1e-9))
PYTHON
