"""The main job on the built-in sample: a run, nearest neighbours before and after it, and what its teacher keeps."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pcae.data.images import Images
from pcae.data.tables.labelled import open_labelled
from pcae.evaluation.features import embed, raw_pixels
from pcae.evaluation.knn import knn_accuracies
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.pages.kept_tokens import draw_run
from pcae.pages.run_page import report_on
from pcae.runs.pretraining import train
from pcae.settings.recipes import read_recipe
from pcae.settings.values import build
from pcae.settings.verbs.demo import DemoConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.distributed import open_world
from pcae.weights.files import load


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
    training, held_out = open_labelled("sample")
    with open_world(config.device) as world:
        summary = train(settings, world)
    trained = load(config.out, world.device)
    before, size = untrained(settings, trained.facts, world.device), settings.encoder.image_size
    rows = {
        "raw pixels": knn(lambda images: raw_pixels(images, size), training, held_out),
        "random weights": knn(lambda images: embed(before, images), training, held_out),
        "pre-trained by PCAE": summary.get("knn") or knn(lambda images: embed(trained, images), training, held_out),
    }  # an older demo's summary has none
    picture = config.out / "kept-tokens.png"
    draw_run(config.out, held_out, picture)
    report_on(config.out)
    gain = 100 * (rows["pre-trained by PCAE"] - rows["random weights"])
    return Demo(rows, gain, time.perf_counter() - started, config.out, picture)


def untrained(settings: PretrainConfig, facts: PretrainedFacts, device: torch.device) -> Pretrained:
    """The encoder as the run began."""
    torch.manual_seed(settings.run.seed)
    return Pretrained(build_encoder(facts.encoder), facts).to(device).eval()


def knn(features: Callable[[Images], Tensor], train: Images, test: Images) -> float:
    """Accuracy of the 20 nearest neighbours."""
    labels = [torch.tensor(list(images.labels or [])) for images in (train, test)]
    return knn_accuracies(features(train), labels[0], features(test), labels[1])[20]
