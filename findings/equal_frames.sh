#!/usr/bin/env bash
# Pillow 13.0.0 writes fewer frames than it is given: in GIF, animated PNG and animated WebP equal neighbours become one
# frame that is shown longer. A film of a sampler of which two steps round to the same pixels has fewer frames than
# steps, and frame i is no longer step i. TIFF keeps all of them.
# Seen, six frames of 50 ms with the levels 0, 0, 0, 90, 90, 255:
#   GIF   3 frames, durations 150, 100, 50
#   PNG   3 frames, durations 150, 100, 50
#   WEBP  3 frames, durations 150, 100, 50
#   TIFF  6 frames
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

frames = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (0, 0, 0, 90, 90, 255)]
seen = {}
for kind in ("GIF", "PNG", "WEBP", "TIFF"):
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=50)
    image = Image.open(file)
    durations = []
    for i in range(image.n_frames):
        image.seek(i)
        image.load()
        durations.append(image.info.get("duration"))
    seen[kind] = image.n_frames
    text = "" if durations[0] is None else f", durations {', '.join(f'{d:g}' for d in durations)}"
    print(f"{kind:5} {image.n_frames} frames{text}")
raise SystemExit(seen != {"GIF": 3, "PNG": 3, "WEBP": 3, "TIFF": 6})
PYTHON
