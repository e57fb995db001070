"""The main job on the built-in sample: a run, nearest neighbours before and after it, and what its teacher keeps."""

import time
from dataclasses import dataclass
from pathlib import Path

from pcae.data.images import open_images
from pcae.evaluation.run_metrics import read_curves
from pcae.pages.kept_tokens import draw_run
from pcae.pages.run_page import report_on
from pcae.runs.online_probe import NAME, PIXELS
from pcae.runs.pretraining import train
from pcae.settings.recipes import read_recipe
from pcae.settings.values import build
from pcae.settings.verbs.demo import DemoConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import console
from pcae.training.distributed import open_world

INTRODUCTION = """\
A small Vision Transformer learns from 9,000 pictures of clothes without their labels. Now and then it is tested:
each of 1,000 other pictures gets the label of its 20 nearest neighbours by the model's features (kNN: the share
that is right). That gets worse at first: random weights keep what pixels are like, and training throws it away
before it has something better. In the lines below:
  loss      what training makes smaller
  gradient  how hard the loss pulls at the weights
  rank      directions in which the features of 128 pictures differ; a fall towards 1 would be a collapse
  images/s  pictures trained on in a second; beside it the share of the time that was spent waiting for data
"""
"""What is said before the run, of the numbers that it prints."""


@dataclass(frozen=True)
class Demo:
    """Accuracies of nearest neighbours by what the features are, the gain in points, and where everything lies."""

    knn: dict[str, float]
    gain: float
    seconds: float
    out: Path
    picture: Path


def run_demo(config: DemoConfig) -> Demo:
    """Pre-train, probe before and after, draw."""
    started = time.perf_counter()
    asked = {"data": "sample", "out": config.out, "recipe": "demo", "knn_data": "sample"}
    asked |= {"device": config.device, "seed": config.seed}
    asked |= {} if config.steps is None else {"steps": config.steps}
    settings = build(PretrainConfig, read_recipe(PretrainConfig, "demo") | asked)
    console.print(INTRODUCTION)
    with open_world(config.device) as world:
        train(settings, world)
    curves = read_curves(config.out / "metrics.jsonl").curves
    if not {NAME, PIXELS} <= curves.keys():
        raise ValueError(f"{str(config.out)!r} has a demo of an earlier version; remove it, or give another --out")
    rows = {
        "raw pixels": curves[PIXELS].last,
        "random weights": curves[NAME].values[0],
        "pre-trained by PCAE": curves[NAME].last,
    }
    picture = config.out / "kept-tokens.png"
    draw_run(config.out, open_images("sample", "test"), picture)
    report_on(config.out)
    gain = 100 * (rows["pre-trained by PCAE"] - rows["random weights"])
    return Demo(rows, gain, time.perf_counter() - started, config.out, picture)
