"""What token reduction buys in inference: ViT-B/16 at 224, by drop ratio, all models taking turns in one run.

    python benchmarks/drop_ratio_speed.py [--batch 16] [--rounds 9] [--model vit_base_patch16_224] [--device cpu]

Prints JSON: images per second and the ratio to drop ratio 0 (median over rounds of the ratio within a round), beside
what the multiply-accumulates allow. timm's own forward pass is a row too.
"""

import argparse
import json
import platform
from statistics import median

import timm
import torch

import pcae
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import ratios, take_turns

DROP_RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4)


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--batch", type=int, default=16)
    words.add_argument("--rounds", type=int, default=9)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--device", default="cpu")
    said = words.parse_args()
    device = torch.device(said.device)
    vit = timm.create_model(said.model).to(device).eval()
    models = {"timm": vit} | {f"{ratio:g}": pcae.reduce(vit, ratio) for ratio in DROP_RATIOS}
    images = torch.randn(said.batch, *vit.default_cfg["input_size"], device=device)
    with torch.no_grad():
        gmacs = {name: measure(model, vit.blocks, images[:1]).gmacs for name, model in models.items()}
    seconds = take_turns(models, images, said.rounds, warm_up=2)
    relative = ratios(seconds, "0")
    rows = {
        name: {
            "images_per_second": round(said.batch / median(spent), 3),
            "least": round(said.batch / max(spent), 3),
            "most": round(said.batch / min(spent), 3),
            "relative": round(relative[name], 3),
            "gmacs": round(gmacs[name], 2),
            "macs_allow": round(gmacs["0"] / gmacs[name], 3),
        }
        for name, spent in seconds.items()
    }
    machine = {"device": said.device, "threads": torch.get_num_threads(), "machine": platform.machine()}
    print(json.dumps(vars(said) | machine | {"torch": torch.__version__, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
