"""`pcae show`: what a model keeps of images, stage by stage, as pictures and one page with sliders."""

from pcae.data.unreadable import BadFiles
from pcae.inference.show import PAGE, check, described, draw, find_teacher
from pcae.inference.trained import open_shown, open_trained
from pcae.pages.kept_maps import KeptMaps, look
from pcae.pages.kept_page import write_page
from pcae.pages.kept_tokens import modes_of, read_some, run_folder, settled, ways_of
from pcae.settings.values import expand
from pcae.settings.verbs.show import ShowConfig
from pcae.terminal import as_json, console
from pcae.writing import cleared_on_failure


def run(config: ShowConfig) -> None:
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
    maps = look(model, ways, pixels, names, keeping.seed or 0)
    sources = [f"weights: {config.model.weights}"] + ([f"teacher: {source}"] if source else [])
    sources += [way.describe() for way in ways]
    with cleared_on_failure(config.out, lambda: True):
        config.out.mkdir(parents=True, exist_ok=True)
        draw(config.out, maps)
        write_page(config.out / PAGE, maps, sources)
    report(config, maps, sources, bad_files)


def report(config: ShowConfig, maps: KeptMaps, sources: list[str], bad_files: BadFiles) -> None:
    """Say what was written."""
    page = config.out / PAGE
    if config.json:
        written = {
            "out": str(config.out),
            "page": str(page),
            "sheets": [str(config.out / f"sheet-{way.name}.png") for way in maps.ways],
        }
        facts = {"sources": sources, "grid": maps.grid, "explained": maps.explained}
        images = [described(config.out, maps, image) for image in range(len(maps.files))]
        as_json(written | facts | {"images": images, "bad_files": bad_files.by_name()})
    else:
        console.print(f"{len(maps.files)} images, as .png and .svg, and sheets of them in {config.out}")
        console.print(f"to look at them stage by stage: {page}")
    if bad_files.found:
        console.print(f"{bad_files.describe()}; they were left out")
