#!/usr/bin/env bash
# Expected: weights of a ViT with rotary positions are refused by a ViT without them, as weights of other depths, widths or heads' classes are.
# Seen: rotary positions have no parameters and leave no mark in a state dict. timm's vit_*_patch16_rope_ape_224 saved to a file loads into
# deit3_*_patch16_224 (`pretrained_cfg_overlay=dict(file=...)`) with no error and no warning: its filter renames the layer scales, all else has
# the same name and shape. The network then answers something else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'timm==1.0.31' 'torch==2.15.0' 'torchvision==0.29.2'

"$folder/env/bin/python" - "$folder/rotary.pth" <<'PYTHON'
import logging
import sys
import warnings

import timm
import torch

warnings.simplefilter("error")
logging.basicConfig(level=logging.WARNING)
torch.manual_seed(0)
rotary = timm.create_model("vit_small_patch16_rope_ape_224").eval()
with torch.no_grad():  # as training leaves them: layer scales begin at 1e-5
    for name, value in rotary.named_parameters():
        if "gamma" in name:
            value.fill_(1.0)
torch.save(rotary.state_dict(), sys.argv[1])
print("timm", timm.__version__, "- expected: an error or a warning")
plain = timm.create_model(
    "deit3_small_patch16_224", pretrained=True, pretrained_cfg_overlay={"file": sys.argv[1]}
).eval()
with torch.inference_mode():
    images = torch.randn(2, 3, 224, 224)
    ours, theirs = rotary(images), plain(images)
same = all(map(torch.equal, (rotary.patch_embed.proj.weight, rotary.head.weight), (plain.patch_embed.proj.weight, plain.head.weight)))
apart = ((ours - theirs).norm() / ours.norm()).item()
print("loaded without a word:", same, "- logits apart by", f"{apart:.0%} of their length")
sys.exit(0 if same and apart > 0.05 else "the behaviour has changed")
PYTHON
