"""`pcae demo`: the main job on the built-in sample, in minutes on two CPU cores."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pcae.commands import pretrain
from pcae.commands.kept import draw_run
from pcae.commands.reporting import PAGE, report_on
from pcae.commands.terminal import as_json, console, table
from pcae.data.images import Images
from pcae.data.labelled import open_labelled
from pcae.evaluation.features import embed, raw_pixels
from pcae.evaluation.knn import knn_accuracies
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings import build, read_recipe
from pcae.training.distributed import world
from pcae.weights.files import FILE, load


@dataclass(frozen=True, kw_only=True)
class Config:
    """Pre-train a small ViT on the built-in sample by PCAE, probe it before and after, draw what the teacher kept.

    The recipe is `demo`, the best that we know for this data: what the teacher keeps is predicted as features and as
    pixels. It ends with a page about the run.
    """

    out: Path = Path("demo")
    """Folder for the run and the picture; a finished demo there is shown again, not run again."""
    steps: int | None = None
    """Optimizer steps; without it, the recipe's."""
    seed: int = 0
    """Decides the initial weights, the order of images, flips and masks."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print the table as JSON."""


def run(config: Config) -> None:
    """Probe, pre-train, probe again, draw; one table and where everything lies."""
    started = time.perf_counter()
    values = {
        "data": "sample",
        "out": config.out,
        "recipe": "demo",
        "device": config.device,
        "seed": config.seed,
        "knn_data": "sample",
    }
    chosen = read_recipe(pretrain.Config, "demo") | values
    if config.steps is not None:
        chosen |= {"steps": config.steps}
    settings = build(pretrain.Config, chosen)
    train, test = open_labelled("sample")

    with world(config.device) as here:
        summary = pretrain.train(settings, here)
    trained = load(config.out, here.device)
    size = settings.encoder.image_size
    rows = {
        "raw pixels": knn(lambda images: raw_pixels(images, size), train, test),
        "random weights": probe(untrained(settings, trained.facts, here.device), train, test),
        "pre-trained by PCAE": summary.get("knn") or probe(trained, train, test),  # an older demo's has none
    }
    picture = config.out / "kept-tokens.png"
    draw_run(config.out, test, picture)
    report_on(config.out)
    report(config, rows, picture, time.perf_counter() - started)


def untrained(settings: pretrain.Config, facts: PretrainedFacts, device: torch.device) -> Pretrained:
    """The encoder as the run began."""
    torch.manual_seed(settings.run.seed)
    return Pretrained(build_encoder(facts.encoder), facts).to(device).eval()


def probe(model: Pretrained, train: Images, test: Images) -> float:
    """kNN accuracy of the mean of the patch tokens."""
    return knn(lambda images: embed(model, images), train, test)


def knn(features: Callable[[Images], Tensor], train: Images, test: Images) -> float:
    """Accuracy of the 20 nearest neighbours."""
    labels = [torch.tensor(list(images.labels or [])) for images in (train, test)]
    return knn_accuracies(features(train), labels[0], features(test), labels[1])[20]


def report(config: Config, rows: dict[str, float], picture: Path, seconds: float) -> None:
    """Print the table and where everything lies."""
    gain = 100 * (rows["pre-trained by PCAE"] - rows["random weights"])
    if config.json:
        as_json({"knn": rows, "gain": gain, "seconds": seconds, "out": str(config.out), "picture": str(picture)})
        return
    table(
        "20 nearest neighbours of 9,000 images, 1,000 held out",
        ["features", "kNN accuracy"],
        [[name, f"{value:.1%}"] for name, value in rows.items()],
    )
    console.print(f"gain over random weights: {gain:+.1f} points, in {seconds:.0f} s altogether")
    console.print(f"the run on one page: {config.out / PAGE}; what the teacher kept: {picture}")
    console.print(f"weights: {config.out / FILE}; metrics, TensorBoard files and checkpoints beside it")
