#!/usr/bin/env bash
# Pillow 13.0.0 stores a quarter of the colour even with quality=100: the JPEG has the components 2x2, 1x1, 1x1
# (4:2:0) at every quality unless subsampling=0 is given. Columns of pure red and blue come back off by 152 of 255
# levels at quality 100, and by 1 with subsampling=0 too. Images that were "saved without loss, nearly" are not that.
# Seen:
#   quality=100                 first component 2x2, largest difference 152
#   quality=100, subsampling=0  first component 1x1, largest difference 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PYTHON'
import io

import numpy as np
from PIL import Image

stripes = np.zeros((16, 16, 3), np.uint8)
stripes[:, ::2] = 255, 0, 0
stripes[:, 1::2] = 0, 0, 255


def save(**options):
    file = io.BytesIO()
    Image.fromarray(stripes).save(file, "JPEG", quality=100, **options)
    image = Image.open(file)
    return image.layer[0][1:3], int(np.abs(np.asarray(image).astype(int) - stripes).max())


(plain, off), (full, near) = save(), save(subsampling=0)
print(f"quality=100                 first component {plain[0]}x{plain[1]}, largest difference {off}")
print(f"quality=100, subsampling=0  first component {full[0]}x{full[1]}, largest difference {near}")
raise SystemExit(not (plain == (2, 2) and off > 100 and full == (1, 1) and near < 5))
PYTHON
