"""What a detector learns of a few pictures from a pre-trained encoder and from a random one, at the same budget.

    python benchmarks/detection_learns.py RUNS [--seeds 0 1 2] [--begin pretrained scratch] [--steps 300]

Makes two sets of `small_coco.py` in RUNS: one of 32 pictures, of which 24 are trained on, and for pre-training the
pixels of 400 others, of another seed but of the same stamps and photographs. Pre-training is PCAE on ViT-Ti with
patches of 16 pixels, crops of 128 x 128, for --pretrain-steps. Then for each seed and beginning `pcae detect train` by
the recipe `detect-small`; AP on the 24 pictures says whether it can learn, AP on the 8 others how much of it is more
than learned by heart. Writes docs/results/detection-small.json (--out) anew as each run ends, and prints it at the end;
runs that stand there, of as many steps, are not made again.
"""

import argparse
import io
import json
import os
import platform
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import small_coco
import torch

from pcae.cli import main as pcae

MODEL = "vit_tiny_patch16_224"
BEGINNINGS = ("pretrained", "scratch")
FIGURES = ("ap", "ap50")
PICTURES = {"on the 24": "train.json", "on 8 others": "val.json"}


def told(*words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    with redirect_stdout(io.StringIO()) as said:
        pcae([*words, "--json"])
    return json.loads(said.getvalue())


def make_set(folder: Path, *words: str) -> Path:
    """A set of pictures, unless it is there."""
    if not (folder / "val.json").is_file():
        small_coco.main([str(folder), *words])
    return folder


def pretrained(runs: Path, seed: int, steps: int) -> tuple[list[str], float]:
    """The words that name a pre-trained encoder, and the minutes that it took."""
    images, out = make_set(runs / "many", "--images", "400", "--seed", "1") / "images", runs / f"pretrained-{seed}"
    words = ["--recipe", "vit-ti-64", "--image-size", "128", "128", "--patch-size", "16", "--patch-scale", "1"]
    words += ["--steps", str(steps), "--seed", str(seed), "--device", "cpu", "--health-every", "0"]
    summary = told("pretrain", str(images), "--out", str(out), *words)
    return ["--weights", str(out)], summary["seconds"] / 60


def measure(runs: Path, begin: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """A run and what its detector finds."""
    small, out = make_set(runs / "small", "--images", "32"), runs / f"{begin}-detector-{seed}"
    before, minutes = ["--from-scratch", "--model", MODEL], 0.0
    if begin == "pretrained":
        before, minutes = pretrained(runs, seed, asked.pretrain_steps)
    words = ["--recipe", "detect-small", "--steps", str(asked.steps), "--seed", str(seed), "--device", "cpu"]
    summary = told("detect", "train", str(small), "--out", str(out), *before, *words, "--evaluate-every", "1000000ep")
    found = {"begin": begin, "seed": seed, "pretraining_minutes": round(minutes, 1)}
    found |= {"minutes": round(summary["seconds"] / 60, 1), "loss": round(summary["loss"], 4)}
    for name, file in PICTURES.items():
        figures = told("detect", "evaluate", str(small / file), "--weights", str(out), "--device", "cpu")
        found[name] = {
            f"{kind}_{figure}": round(figures[kind][figure], 4) for kind in ("box", "mask") for figure in FIGURES
        }
    return found


def summed_up(rows: list[dict[str, Any]], asked: argparse.Namespace) -> dict[str, Any]:
    """The runs, their means by beginning, and what they were measured with."""
    means = {}
    for begin in BEGINNINGS:
        own = [row for row in rows if row["begin"] == begin]
        if own:
            means[begin] = {"seeds": len(own)} | {
                where: {name: round(mean(row[where][name] for row in own), 4) for name in own[0][where]}
                for where in PICTURES
            }
    settings = {"steps": asked.steps, "pretrain_steps": asked.pretrain_steps, "threads": torch.get_num_threads()}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": str(torch.__version__)}
    return {"date": date.today().isoformat(), **settings, **machine, "means": means, "runs": rows}


def measured(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The runs that were made already, if they had as many steps."""
    found = json.loads(asked.out.read_text()) if asked.out.is_file() else {}
    same = all(found.get(name) == getattr(asked, name) for name in ("steps", "pretrain_steps"))
    return found["runs"] if same else []


def main() -> None:
    """Run, and write what came out so far after each run."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", type=Path)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--begin", nargs="+", choices=BEGINNINGS, default=list(BEGINNINGS))
    words.add_argument("--steps", type=int, default=300)
    words.add_argument("--pretrain-steps", type=int, default=1500)
    words.add_argument("--out", type=Path, default=Path("docs/results/detection-small.json"))
    asked = words.parse_args()
    rows = measured(asked)
    for seed in asked.seeds:
        for begin in asked.begin:
            if not any((row["begin"], row["seed"]) == (begin, seed) for row in rows):
                rows.append(measure(asked.runs, begin, seed, asked))
                asked.out.write_text(json.dumps(summed_up(rows, asked), indent=2) + "\n")
    print(asked.out.read_text())


if __name__ == "__main__":
    main()
