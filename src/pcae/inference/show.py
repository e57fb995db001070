"""What a model keeps of images, stage by stage, drawn: pictures, sheets, and one page with sliders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcae.evaluation.kept import Kept, Way
from pcae.inference.trained import open_shown, open_trained, say_left_out
from pcae.model.pretrained import Pretrained
from pcae.pages.kept_maps import KeptMaps, look
from pcae.pages.kept_page import write_page
from pcae.pages.kept_tokens import check_keeping, modes_of, read_some, run_folder, settled, ways_of
from pcae.pictures.stages import Panel, Row, draw_rows, draw_stages, heat_panels, stage_panels
from pcae.results import Block, Result, Table
from pcae.settings.trained import TrainedConfig
from pcae.settings.values import expand
from pcae.settings.verbs.show import ShowConfig
from pcae.terminal import bar, console
from pcae.weights.teacher import load_teacher
from pcae.writing import check_place, cleared_on_failure

SUFFIXES = (".png", ".svg")
PAGE = "index.html"


@dataclass(frozen=True, repr=False)
class Shown(Result):
    """What was written, what it is of, and of each image its pictures and what was kept in every mode.

    explained: share of the features' variance that red, green and blue stand for.
    """

    out: Path
    page: Path
    sheets: list[Path]
    sources: list[str]
    grid: tuple[int, int]
    explained: list[float]
    images: list[dict[str, Any]]
    bad_files: dict[str, str]

    def blocks(self) -> list[Block]:
        """How many tokens of each image are shown, and left after each stage."""
        modes = list(self.images[0]["kept"])
        rows = [[image["name"], *(counts(image["kept"][mode]) for mode in modes)] for image in self.images]
        return [
            Table(f"{len(self.images)} images in {self.out}", ["image", *modes], rows),
            f"stage by stage: {self.page}",
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row for each stage of each mode and image, with the positions that it keeps."""
        return [
            {"name": image["name"], "mode": mode, "drop_ratio": kept["drop_ratio"], **stage}
            for image in self.images
            for mode, kept in image["kept"].items()
            for stage in kept["stages"]
        ]


def counts(kept: dict[str, Any]) -> str:
    """How many tokens there are at first, and after each stage."""
    return " -> ".join(str(len(ids)) for ids in (kept["shown_ids"], *(stage["kept_ids"] for stage in kept["stages"])))


def show_kept(config: ShowConfig) -> Shown:
    """Decide, draw and write. Raises ValueError for what cannot be, and when too many images cannot be read."""
    check(config)
    model = open_trained(config.model)
    place, modes = run_folder(expand(config.model.weights)), modes_of(config.keeping, model)
    teacher, source = find_teacher(config.model, model, place) if {"masked", "whole"} & set(modes) else (None, None)
    keeping = settled(config.keeping, place)
    ways = ways_of(keeping, modes, model, teacher)
    bad_files = open_shown(config.data, config.shown, model)
    pixels, indices = read_some(bad_files.images, model, config.most_images, bad_files, config.shown.workers)
    for way in ways:
        console.print(way.describe())
    maps = look(model, ways, pixels, [bad_files.images.short(index) for index in indices], keeping.seed or 0)
    sources = [f"weights: {config.model.weights}"] + ([f"teacher: {source}"] if source else [])
    sources += [way.describe() for way in ways]
    out, page = config.out, config.out / PAGE
    with cleared_on_failure(out, lambda: True):
        out.mkdir(parents=True, exist_ok=True)
        draw(out, maps)
        write_page(page, maps, sources)
    say_left_out(bad_files)
    sheets = [out / f"sheet-{way.name}.png" for way in ways]
    images = [described(out, maps, image) for image in range(len(maps.files))]
    return Shown(out, page, sheets, sources, maps.grid, maps.explained, images, bad_files.by_name())


def check(config: ShowConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_keeping(config.keeping)
    check_place(config.out, config.data)


def find_teacher(config: TrainedConfig, model: Pretrained, run: Path | None) -> tuple[Pretrained | None, str]:
    """What serves as the teacher in place of the model, where a run has it, and what it is in words; says so."""
    found = load_teacher(run, model.device, config.image_size) if run else None
    teacher, source = found or (None, "the encoder itself; these weights hold no moving average beside it")
    console.print(f"teacher: {source}")
    return teacher, source


def draw(out: Path, maps: KeptMaps) -> None:
    """Write the pictures of each image, and a sheet of all of them for each mode."""
    panels = {way.name: stage_panels(maps.pixels, way.columns(asked(maps, way)), maps.grid) for way in maps.ways}
    for image in bar("drawing")(range(len(maps.files))):
        rows = [row for way in maps.ways for row in rows_of(maps, way, panels[way.name][image], image)]
        draw_rows([out / f"{maps.files[image]}{suffix}" for suffix in SUFFIXES], rows, maps.size)
    for way in maps.ways:
        for suffix in SUFFIXES:
            columns = way.columns(asked(maps, way))
            draw_stages(out / f"sheet-{way.name}{suffix}", maps.pixels, columns, maps.grid)


def asked(maps: KeptMaps, way: Way) -> Kept:
    """What is kept at the ratio that was asked for."""
    return maps.kept[way.name][way.ratio]


def rows_of(maps: KeptMaps, way: Way, panels: list[Panel], image: int) -> list[Row]:
    """What stays of an image and the scores by which it does; the features stand below the first image."""
    scale = maps.scales[way.name]
    scores = heat_panels(way, asked(maps, way), scale, maps.grid, image)
    if way is maps.ways[0]:
        title = f"PCA of features\n{100 * sum(maps.explained):.0f} % explained"
        scores[0] = Panel(title, maps.colours[image])
    skipped = [None] if way.first is None and any(other.first for other in maps.ways) else []  # stages in columns
    rows = ([panels[0], *skipped, *panels[1:]], [scores[0], *skipped, *scores[1:]])
    label = "features, scores" if way is maps.ways[0] else "scores"
    return [Row(rows[0], way.name), Row(rows[1], label, scale)]


def described(out: Path, maps: KeptMaps, image: int) -> dict[str, Any]:
    """The name of an image, its pictures, and in every mode the positions that were shown, and kept by each stage."""
    kept = {}
    for way in maps.ways:
        one = asked(maps, way)
        stages = [{"block": stage.block, "kept_ids": stage.kept_ids[image].tolist()} for stage in one.stages]
        kept[way.name] = {"drop_ratio": way.ratio, "shown_ids": one.shown_ids[image].tolist(), "stages": stages}
    pictures = [str(out / f"{maps.files[image]}{suffix}") for suffix in SUFFIXES]
    return {"name": maps.names[image], "pictures": pictures, "kept": kept}
