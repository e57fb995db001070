"""What PCAE pre-training, the dial and training-free reduction are worth on Fashion-MNIST, over three seeds.

    python benchmarks/fashion_mnist_downstream.py RUNS [--seeds 0 1 2] [--pretrain-steps 14000]

For each seed: pre-training by the recipe `sample` on all 60,000 images, then three fine-tunings by the recipe
`finetune-fashion-mnist`: from the pre-trained weights, from random ones, and from the pre-trained ones with the dial.
Accuracy on the 10,000 test images by drop ratio and the paper's rule. Finished runs in RUNS are not run again. JSON.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import pcae
from pcae.data.tables.labelled import open_labelled
from pcae.data.unreadable import BadFiles
from pcae.inference.held_out import classify
from pcae.settings.trained import Rule
from pcae.training.distributed import World

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4)


def fine_tune(runs: Path, name: str, seed: int, **settings: Any) -> dict[str, Any]:
    """One run: its seconds, and its accuracy at every drop ratio, which is kept in the run's folder."""
    out = runs / f"{name}{seed}"
    kept = out / "by-drop-ratio.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    shared = {"recipe": "finetune-fashion-mnist", "seed": seed, "evaluate_every": "2ep", "device": "cpu"}
    summary = pcae.finetune("fashion-mnist", out, weights=str(runs / f"pre{seed}"), **shared, **settings)
    model = pcae.load(out)
    _, test = open_labelled("fashion-mnist")
    world = World(0, 1, torch.device("cpu"))
    top1 = {
        f"{ratio:g}": classify(
            model.classifier(ratio, **vars(Rule())), BadFiles(test, 0.0), model.facts, world
        ).numbers()["top1"]
        for ratio in RATIOS
    }
    found = {"seconds": round(summary["seconds"]), "top1": top1}
    kept.write_text(json.dumps(found))
    return found


def paired(one: list[float], other: list[float]) -> dict[str, float]:
    """Mean difference in points over the seeds, and its standard error."""
    points = [100 * (a - b) for a, b in zip(one, other, strict=True)]
    return {"points": round(mean(points), 3), "standard_error": round(stdev(points) / len(points) ** 0.5, 3)}


def measure() -> None:
    """Run, evaluate, compare and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", type=Path)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--pretrain-steps", type=int, default=14_000)
    asked = words.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"pretrained": [], "scratch": [], "dial": []}
    seconds = []
    for seed in asked.seeds:
        settings = {"recipe": "sample", "steps": asked.pretrain_steps, "seed": seed, "device": "cpu"}
        seconds.append(round(pcae.pretrain("fashion-mnist", asked.runs / f"pre{seed}", **settings)["seconds"]))
        rows["pretrained"].append(fine_tune(asked.runs, "A", seed, drop_ratio=0.0))
        rows["scratch"].append(fine_tune(asked.runs, "B", seed, drop_ratio=0.0, from_scratch=True))
        rows["dial"].append(fine_tune(asked.runs, "C", seed, drop_ratio="0:0.4"))

    def at(name: str, ratio: float) -> list[float]:
        return [row["top1"][f"{ratio:g}"] for row in rows[name]]

    found = {
        "pretrained minus scratch": paired(at("pretrained", 0), at("scratch", 0)),
        "dial at 0.4 minus dial at 0": paired(at("dial", 0.4), at("dial", 0)),
        "training-free at 0.4 minus at 0": paired(at("pretrained", 0.4), at("pretrained", 0)),
        "dial minus training-free, both at 0.4": paired(at("dial", 0.4), at("pretrained", 0.4)),
        "dial minus pretrained, both at 0": paired(at("dial", 0), at("pretrained", 0)),
    }
    print(json.dumps({"seeds": asked.seeds, "pretrain_seconds": seconds, "runs": rows, "found": found}, indent=2))


if __name__ == "__main__":
    measure()
