#!/usr/bin/env bash
# convert("L") of Pillow 13.0.0 clips 16-bit grey pictures (mode "I;16", what a 16-bit grey PNG opens as) instead of
# scaling them: every level above 255 of 65535 becomes white. A loader that calls convert("L") on all files turns
# medical or depth images into nearly white ones, with no warning.
# Seen:
#   mode I;16, levels 0 255 256 33022 65535 become 0 255 255 255 255
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PYTHON'
import io
import warnings

import numpy as np
from PIL import Image

warnings.simplefilter("error")
levels = np.array([[0, 255, 256, 0x80FE, 65535]], np.uint16)
file = io.BytesIO()
Image.fromarray(levels).save(file, "PNG")
image = Image.open(file)
grey = np.asarray(image.convert("L"))
print(f"mode {image.mode}, levels {' '.join(map(str, levels[0]))} become {' '.join(map(str, grey[0]))}")
raise SystemExit(not (image.mode == "I;16" and grey[0].tolist() == [0, 255, 255, 255, 255]))
PYTHON
