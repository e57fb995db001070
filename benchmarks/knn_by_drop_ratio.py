"""Nearest neighbours by the features of pre-trained encoders that drop tokens, on the built-in sample.

    python benchmarks/knn_by_drop_ratio.py RUN [RUN ...]

RUN: folders of pre-training. Features are those of `pcae export --to onnx --drop-ratio R [--pool-dropped]`: the mean
of the patch tokens that are left, or of all. 1,000 held-out images among 9,000. Prints JSON: accuracies.
"""

import argparse
import json
from dataclasses import replace

import torch

import pcae
from pcae.data.labelled import open_labelled
from pcae.evaluation.features import collect
from pcae.evaluation.knn import knn_accuracies
from pcae.weights.export.deployed import Deployed

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4)


def accuracy(run: str, ratio: float, pool_dropped: bool) -> float:
    """Percentage of the test images that 20 neighbours among the training images sort rightly."""
    model = pcae.load(run)
    model.facts = replace(model.facts, pool_dropped=pool_dropped)
    deployed = Deployed(model, ratio).eval()
    sides = open_labelled("sample")
    train, test = (collect(side, model.facts.encoder.image_size, lambda pixels: deployed(pixels)[0]) for side in sides)
    labels, held_out = (torch.tensor(side.labels) for side in sides)
    return round(100 * knn_accuracies(train, labels, test, held_out)[20], 2)


def measure() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", nargs="+")
    runs = words.parse_args().runs
    found = {
        name: [[accuracy(run, ratio, pooled) for ratio in RATIOS] for run in runs]
        for name, pooled in (("what is left", False), ("--pool-dropped", True))
    }
    print(json.dumps({"drop_ratios": RATIOS, "kNN in %": found}, indent=1))


if __name__ == "__main__":
    measure()
