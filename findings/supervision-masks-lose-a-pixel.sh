#!/usr/bin/env bash
# Expected: a mask that DetectionDataset.as_coco writes is the same when pycocotools reads it, as those are that it writes as run lengths.
# Seen: a mask of one part is written as the polygon through the centres of its outermost pixels, which COCO reads as one row and one column
# less: 20 x 10 pixels become 19 x 9. The area beside it is still the 200 pixels of the mask. The other masks have iscrowd 1, by which COCO's
# own evaluation and most training programs leave them out as crowds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'supervision==0.31.2' 'pycocotools==2.0.11'

"$folder/env/bin/python" - "$folder" <<'PYTHON'
import json, sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image
from pycocotools.coco import COCO

folder = Path(sys.argv[1])
Image.new("RGB", (64, 48)).save(folder / "a.png")
masks = np.zeros((2, 48, 64), bool)
masks[0, 6:16, 4:24] = True  # one part
masks[1, 30:38, 4:12] = masks[1, 30:38, 20:28] = True  # two parts
boxes = np.array([[4, 6, 24, 16], [4, 30, 28, 38]], float)
objects = {str(folder / "a.png"): sv.Detections(xyxy=boxes, mask=masks, class_id=np.array([0, 0]))}
sv.DetectionDataset(classes=["thing"], images=list(objects), annotations=objects).as_coco(annotations_path=str(folder / "all.json"))
coco = COCO(str(folder / "all.json"))
one, two = coco.anns.values()
read = [int(coco.annToMask(each).sum()) for each in (one, two)]
print("supervision", version("supervision"))
print("expected: pixels", masks.sum((1, 2)).tolist(), "iscrowd [0, 0]")
print("seen:     pixels", read, "iscrowd", [one["iscrowd"], two["iscrowd"]], "polygon", one["segmentation"], "area", one["area"])
sys.exit("the behaviour has changed" if read != [171, 128] or two["iscrowd"] != 1 else 0)
PYTHON
