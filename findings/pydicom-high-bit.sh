#!/usr/bin/env bash
# Expected: pydicom gives a sample of 12 bits that stands in the upper bits of 16 (HighBit 15, BitsStored 12) as it is
#   stored, or shifted down: 65520 or 4095 for the largest one.
# Seen: since pydicom 3, it keeps the lower 12 bits and says nothing, so that the lower 4 bits of the sample are gone
#   and the upper 4 with it: 4080 for the largest one, and the same number for many others. `correct_unused_bits=False`
#   gives what is stored.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'pydicom==3.0.2' 'numpy==2.3.5'

"$folder/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

stored = np.array([[0, 0x0FF0], [0x1FF0, 0xFFF0]], np.uint16)  # 0, 255, 511 and 4095, each times 16
file = Dataset()
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
file.Rows = file.Columns = 2
file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 15
file.PixelData = stored.tobytes()
file["PixelData"].VR = "OW"
found = file.pixel_array.ravel().tolist()
print("pydicom", pydicom.__version__)
print("expected", stored.ravel().tolist(), "or", (stored >> 4).ravel().tolist())
print("found   ", found)
sys.exit("the behaviour has changed" if found != [0, 4080, 4080, 4080] else 0)
PYTHON
