"""Nearest neighbours by epoch and by second of pre-training, of the runs that a comparison on Fashion-MNIST left.

    pcae compare fashion-mnist --rows benchmarks/fashion_mnist.yaml --seeds 0 1 2 --device cpu --out OUT
    python benchmarks/knn_curves.py OUT PICTURE.png

Accuracies are those that the runs wrote down (`--knn-data`). Seconds are images over the images per second in
OUT/cells/pace-*.json, which the same comparison with `--measures training_images_per_second` leaves: there all rows
take turns, while the runs themselves may have had company. Prints JSON, as the picture shows it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pcae.comparison import compare
from pcae.comparison.cell import cell_of
from pcae.comparison.rows import Row
from pcae.pictures.figures import COLOURS
from pcae.runs.online_probe import NAME
from pcae.settings.verbs.compare import CompareConfig
from pcae.training.logging import read_metrics

ROWS = Path(__file__).parent / "fashion_mnist.yaml"
TRAINING_IMAGES = 60_000
AXES = {"epochs": "epochs", "seconds": "seconds of pre-training on two CPU cores"}


def curves(out: Path, seeds: list[int]) -> list[dict[str, Any]]:
    """Every run with accuracies: its row, seed, and points of epochs, seconds and kNN accuracy."""
    config = CompareConfig(data="fashion-mnist", rows=ROWS, out=out, device="cpu")
    comparison = compare.comparison_of(config)
    at = compare.conditions_of(config, "fashion-mnist", comparison)
    found = []
    for row in comparison.rows:
        for seed in seeds if row.trained else ():
            run = cell_of(row, seed, at, out / "cells").pretrain
            lines = [line for line in read_metrics(run.out) if NAME in line]
            if lines:
                images = [line["step"] * row.pretrain["batch_size"] for line in lines]
                found.append(curve(row, seed, images, [line[NAME] for line in lines], speed_of(out, row)))
    return found


def curve(row: Row, seed: int, images: list[int], knn: list[float], speed: float) -> dict[str, Any]:
    """A run's points."""
    epochs = [round(count / TRAINING_IMAGES, 3) for count in images]
    return {
        "row": row.name,
        "seed": seed,
        "epochs": epochs,
        "seconds": [round(n / speed, 1) for n in images],
        "knn": knn,
    }


def speed_of(out: Path, row: Row) -> float:
    """Images per second of a row. Raises ValueError when they were not measured."""
    for path in sorted((out / "cells").glob("pace-*.json")):
        values = json.loads(path.read_text("utf-8"))["values"].get(row.name, {})
        if "training_images_per_second" in values:
            return values["training_images_per_second"]
    raise ValueError(
        f"{out}/cells has no pace-*.json with {row.name!r}; run with --measures training_images_per_second"
    )


def draw(found: list[dict[str, Any]], picture: Path) -> None:
    """Accuracy against epochs and against seconds, a colour for each row."""
    figure = Figure(figsize=(10, 4.2), dpi=150, layout="constrained")
    names = list(dict.fromkeys(run["row"] for run in found))
    for axes, (key, label) in zip(figure.subplots(1, 2, sharey=True), AXES.items(), strict=True):
        for run in found:
            place = names.index(run["row"])
            axes.plot(run[key], [100 * share for share in run["knn"]], "o-", color=COLOURS[place], markersize=4,
                      label=f"{run['row']}, seed {run['seed']}")  # fmt: skip
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("kNN accuracy in %, held-out images")
    figure.axes[0].legend(frameon=False)
    figure.savefig(picture)


def main() -> None:
    """Read, draw and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("picture", type=Path)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = words.parse_args()
    found = curves(asked.out, asked.seeds)
    draw(found, asked.picture)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
