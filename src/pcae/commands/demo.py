"""`pcae demo`: the main job on the built-in sample, in minutes on two CPU cores."""

import time
from pathlib import Path

from pcae.commands import pretrain
from pcae.data.tables.labelled import open_labelled
from pcae.evaluation.features import raw_pixels
from pcae.pages.kept_tokens import draw_run
from pcae.pages.run_page import PAGE, report_on
from pcae.runs.demo import knn, probe, untrained
from pcae.settings.recipes import read_recipe
from pcae.settings.values import build
from pcae.settings.verbs.demo import DemoConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import as_json, console, table
from pcae.training.distributed import open_world
from pcae.weights.files import FILE, load


def run(config: DemoConfig) -> None:
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
    chosen = read_recipe(PretrainConfig, "demo") | values
    if config.steps is not None:
        chosen |= {"steps": config.steps}
    settings = build(PretrainConfig, chosen)
    train, test = open_labelled("sample")

    with open_world(config.device) as world:
        summary = pretrain.train(settings, world)
    trained = load(config.out, world.device)
    size = settings.encoder.image_size
    rows = {
        "raw pixels": knn(lambda images: raw_pixels(images, size), train, test),
        "random weights": probe(untrained(settings, trained.facts, world.device), train, test),
        "pre-trained by PCAE": summary.get("knn") or probe(trained, train, test),  # an older demo's has none
    }
    picture = config.out / "kept-tokens.png"
    draw_run(config.out, test, picture)
    report_on(config.out)
    report(config, rows, picture, time.perf_counter() - started)


def report(config: DemoConfig, rows: dict[str, float], picture: Path, seconds: float) -> None:
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
