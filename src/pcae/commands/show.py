"""`pcae show`: what a model keeps of images, stage by stage, as pictures and one page with sliders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from pcae.commands.exhibit import Exhibit, look
from pcae.commands.kept import KeepingConfig, check_keeping, modes_of, read_some, run_folder, settled, ways_of
from pcae.commands.show_page import write_page
from pcae.commands.terminal import as_json, bar, console
from pcae.commands.trained import ShownConfig, TrainedConfig, check_shown, open_shown, open_trained
from pcae.data.unreadable import BadFiles
from pcae.evaluation.kept import Kept, Way
from pcae.evaluation.pictures import Panel, Row, draw_rows, draw_stages, heat_panels, stage_panels
from pcae.model.pretrained import Pretrained
from pcae.settings import expand
from pcae.training.folder import check_place, cleared_on_failure
from pcae.weights.teacher import load_teacher

SUFFIXES = (".png", ".svg")
PAGE = "index.html"
MOST = 200
"""Images that a sheet and a page can hold."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Show what a model keeps of images, stage by stage (Figures 2 and 4), how redundant it finds each patch, and its
    features as colours.

    Writes NAME.png and NAME.svg of each image, sheet-MODE.png and .svg of all of them, and index.html: a page that
    stands alone, with sliders for the stage and the drop ratio.
    """

    data: Annotated[str, Positional, arg(metavar="IMAGES")]
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    out: Path
    """Folder to write to, outside IMAGES."""
    most_images: int = 24
    """Images that are shown, spread evenly over the data; at most 200."""
    keeping: KeepingConfig = KeepingConfig()
    shown: ShownConfig = ShownConfig()
    json: bool = False
    """Print what was written, and what was kept of each image, as JSON."""


def run(config: Config) -> None:
    """Decide, draw and write."""
    check(config)
    model = open_trained(config.model)
    place, modes = run_folder(expand(config.model.weights)), modes_of(config.keeping, model)
    teacher, source = find_teacher(config, model, place) if {"masked", "whole"} & set(modes) else (None, None)
    keeping = settled(config.keeping, place)
    ways = ways_of(keeping, modes, model, teacher)
    bad_files = open_shown(config.data, config.shown, model)
    pixels, indices = read_some(bad_files.images, model, config.most_images, bad_files, config.shown.workers)
    names = [bad_files.images.short(index) for index in indices]
    for way in ways:
        console.print(way.describe())
    exhibit = look(model, ways, pixels, names, keeping.seed or 0)
    sources = [f"weights: {config.model.weights}"] + ([f"teacher: {source}"] if source else [])
    sources += [way.describe() for way in ways]
    with cleared_on_failure(config.out, lambda: True):
        config.out.mkdir(parents=True, exist_ok=True)
        draw(config.out, exhibit)
        write_page(config.out / PAGE, exhibit, sources)
    report(config, exhibit, sources, bad_files)


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_shown(config.shown, None)
    check_keeping(config.keeping)
    if not 1 <= config.most_images <= MOST:
        raise ValueError(f"most_images must lie in [1, {MOST}], got {config.most_images}")
    check_place(config.out, config.data)


def find_teacher(config: Config, model: Pretrained, run: Path | None) -> tuple[Pretrained | None, str]:
    """What serves as the teacher in place of the model, where a run has it, and what it is in words; says so."""
    found = load_teacher(run, model.device, config.model.image_size) if run else None
    teacher, source = found or (None, "the encoder itself; these weights hold no moving average beside it")
    console.print(f"teacher: {source}")
    return teacher, source


def draw(out: Path, exhibit: Exhibit) -> None:
    """Write the pictures of each image, and a sheet of all of them for each mode."""
    panels = {
        way.name: stage_panels(exhibit.pixels, way.columns(asked(exhibit, way)), exhibit.grid) for way in exhibit.ways
    }
    for image in bar("drawing")(range(len(exhibit.files))):
        rows = [row for way in exhibit.ways for row in rows_of(exhibit, way, panels[way.name][image], image)]
        draw_rows([out / f"{exhibit.files[image]}{suffix}" for suffix in SUFFIXES], rows, exhibit.size)
    for way in exhibit.ways:
        for suffix in SUFFIXES:
            columns = way.columns(asked(exhibit, way))
            draw_stages(out / f"sheet-{way.name}{suffix}", exhibit.pixels, columns, exhibit.grid)


def asked(exhibit: Exhibit, way: Way) -> Kept:
    """What is kept at the ratio that was asked for."""
    return exhibit.kept[way.name][way.ratio]


def rows_of(exhibit: Exhibit, way: Way, panels: list[Panel], image: int) -> list[Row]:
    """What stays of an image and the scores by which it does; the features stand below the first image."""
    scale = exhibit.scales[way.name]
    scores = heat_panels(way, asked(exhibit, way), scale, exhibit.grid, image)
    if way is exhibit.ways[0]:
        title = f"PCA of features\n{100 * sum(exhibit.explained):.0f} % explained"
        scores[0] = Panel(title, exhibit.colours[image])
    skipped = [None] if way.first is None and any(other.first for other in exhibit.ways) else []  # stages in columns
    rows = ([panels[0], *skipped, *panels[1:]], [scores[0], *skipped, *scores[1:]])
    label = "features, scores" if way is exhibit.ways[0] else "scores"
    return [Row(rows[0], way.name), Row(rows[1], label, scale)]


def report(config: Config, exhibit: Exhibit, sources: list[str], bad_files: BadFiles) -> None:
    """Say what was written."""
    page = config.out / PAGE
    if config.json:
        written = {
            "out": str(config.out),
            "page": str(page),
            "sheets": [str(config.out / f"sheet-{way.name}.png") for way in exhibit.ways],
        }
        facts = {"sources": sources, "grid": exhibit.grid, "explained": exhibit.explained}
        images = [described(config.out, exhibit, image) for image in range(len(exhibit.files))]
        as_json(written | facts | {"images": images, "bad_files": bad_files.by_name()})
    else:
        console.print(f"{len(exhibit.files)} images, as .png and .svg, and sheets of them in {config.out}")
        console.print(f"to look at them stage by stage: {page}")
    if bad_files.found:
        console.print(f"{bad_files.describe()}; they were left out")


def described(out: Path, exhibit: Exhibit, image: int) -> dict[str, Any]:
    """The name of an image, its pictures, and in every mode the positions that were shown, and kept by each stage."""
    kept = {}
    for way in exhibit.ways:
        one = asked(exhibit, way)
        stages = [{"block": stage.block, "kept_ids": stage.kept_ids[image].tolist()} for stage in one.stages]
        kept[way.name] = {"drop_ratio": way.ratio, "shown_ids": one.shown_ids[image].tolist(), "stages": stages}
    pictures = [str(out / f"{exhibit.files[image]}{suffix}") for suffix in SUFFIXES]
    return {"name": exhibit.names[image], "pictures": pictures, "kept": kept}
