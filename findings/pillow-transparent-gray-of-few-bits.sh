#!/usr/bin/env bash
# Expected: a gray PNG of 2 or 4 bits whose tRNS chunk names a gray is transparent where its samples have that gray: the
# number counts in the samples' own bits, as the PNG specification says.
# Seen: Pillow scales the samples to 8 bits and not the number. A gray of 1 to 3 (of 2 bits) is opaque everywhere, and a
# gray of 0 alone is right. So such pictures come out with their background in place of nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'pillow==13.0.0' 'numpy==2.4.6'

"$folder/env/bin/python" - <<'PYTHON'
import io
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(transparent: int) -> bytes:
    """Four pixels of 2 bits: 0, 1, 2, 3."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0))
    said = chunk(b"tRNS", struct.pack(">H", transparent))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + bytes([0b00011011])))
    return b"\x89PNG\r\n\x1a\n" + header + said + pixels + chunk(b"IEND", b"")


print("Pillow", PIL.__version__, "- expected: opacity 0 at the pixel that is named, 255 at the others")
wrong = 0
for gray in range(4):
    opacity = np.asarray(Image.open(io.BytesIO(png(gray))).convert("LA"))[0, :, 1].tolist()
    print("transparent gray", gray, "-> opacity", opacity)
    wrong += opacity[gray] != 0
sys.exit("the behaviour has changed" if wrong != 3 else 0)
PYTHON
