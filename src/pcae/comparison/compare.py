"""TODO."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pcae.comparison.cell import Cell, cell_of, complete
from pcae.comparison.paper_rows import paper_comparison, read_scale
from pcae.comparison.rows import Comparison, Conditions, Contender, digest_of, fingerprint, read_rows
from pcae.comparison.speed import SECONDS, SPEED_MEASURES, Values, measure_speeds, steps_within
from pcae.comparison.table import ACCURACIES, Column, Row, to_markdown, to_plain
from pcae.data.images import open_images
from pcae.data.tables.labelled import open_labelled
from pcae.settings.choices import ScaleName
from pcae.settings.verbs.compare import CompareConfig
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.writing import check_place, replace_text

USUAL: ScaleName = "small"
ENDS = ("md", "json")
COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column(name="finetuned", title="fine-tuned, top-1 in %", digits=2, scale=100.0, better="higher"),
        Column(name="knn", title="kNN in %", digits=2, scale=100.0, better="higher"),
        Column(name="linear", title="linear probe in %", digits=2, scale=100.0, better="higher"),
        Column(name="attentive", title="attentive probe in %", digits=2, scale=100.0, better="higher"),
        Column(name="training_images_per_second", title="training images/s", digits=1, better="higher"),
        Column(name="inference_images_per_second", title="inference images/s", digits=1, better="higher"),
        Column(name="peak_memory", title="peak memory in MiB", digits=1, scale=2**-20, better="lower"),
        Column(name="training_gmacs", title="GMACs of a training image", digits=3, better="lower"),
        Column(name="inference_gmacs", title="GMACs of inference", digits=3, better="lower"),
        Column(name="seconds", title="seconds of pre-training", digits=1, better="lower"),
    )
}


def check(config: CompareConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if (config.rows is None) == (config.table is None):
        raise ValueError("give either --rows FILE or --table N")
    if config.rows is not None and config.scale is not None:
        raise ValueError(f"scale {config.scale} is for the paper's tables; leave it out with --rows")
    if config.rows is not None and config.rows.resolve() in {Path(f"{stem(config)}.{end}").resolve() for end in ENDS}:
        raise ValueError(f"the table would be written over rows {str(config.rows)!r}; choose another --out")
    if config.epochs is not None and config.seconds is not None:
        raise ValueError(f"give epochs or seconds, not both (got {config.epochs:g} and {config.seconds:g})")
    for name in ("seeds", "measures"):
        value = getattr(config, name)
        if value is not None and len(set(value)) != max(1, len(value)):
            raise ValueError(f"{name} needs at least one value, and each once")


def compare(config: CompareConfig, world: World) -> tuple[Comparison, list[Row]]:
    """Measure all cells that are not there yet; the table is written after each. Every process calls it."""
    data = data_of(config)
    check_place(config.out, data)
    comparison = world.main_first(lambda: comparison_of(config))
    at = world.main_first(lambda: conditions_of(config, data, comparison))
    contenders = [contender for contender in comparison.contenders if not contender.quoted]
    budget = {} if config.epochs is None else {"epochs": config.epochs}
    cells = [
        cell_of(contender, seed, at, config.out / "cells", **budget)
        for seed in config.seeds
        for contender in contenders
    ]
    pace, failures = world.from_main(lambda: paces_of(config, comparison, cells[: len(contenders)], at, world))
    rows = [row_of(contender, pace, failures, config.seeds[0]) for contender in comparison.contenders]
    by_name = {row.name: row for row in rows}
    for number, cell in enumerate(cells, start=1):
        row = by_name[cell.contender.name]
        if not cell.contender.speed_only:
            fill(row, cell, config, comparison, pace, at, world)
            if world.is_main:
                said = in_words(row, cell.seed)
                console.print(f"{number} of {len(cells)}: {row.name}, seed {cell.seed}: {said}")
        if world.is_main:
            write(config, comparison, rows)
    return comparison, rows


def data_of(config: CompareConfig) -> str:
    """The images. Raises ValueError where neither the caller nor the scale names any."""
    usual = read_scale(config.scale or USUAL).data if config.table is not None else None
    data = config.data or usual
    if data is None:
        what = "--rows" if config.rows else f"--scale {config.scale or USUAL}"
        raise ValueError(
            f"missing: DATA; {what} needs labelled images, such as a folder with train/CLASS and val/CLASS"
        )
    return data


def comparison_of(config: CompareConfig) -> Comparison:
    """What is compared, with the measures that the caller asks for."""
    if config.rows is not None:
        comparison = read_rows(config.rows)
    else:
        comparison = paper_comparison(config.table or 0, config.scale or USUAL, config.out)
    if not comparison.measures:
        raise ValueError(f"rows {str(config.rows)!r} has no measures; name at least one")
    return replace(comparison, measures=config.measures or comparison.measures)


def conditions_of(config: CompareConfig, data: str, comparison: Comparison) -> Conditions:
    """What all contenders share. Raises ValueError where there are no images, or no labels that the measures need."""
    channels = {contender.pretrain.get("channels") for contender in comparison.contenders if not contender.quoted}
    asked = channels.pop() if len(channels) == 1 else None
    if set(comparison.measures) & set(ACCURACIES):
        splits = open_labelled(data, asked)
    else:
        splits = (open_images(data, "train", asked),)
    return Conditions(
        data=data,
        files=digest_of([fingerprint(images) for images in splits]),
        channels=splits[0].channels,
        classes=len(splits[0].classes) or 1000,
        runs=config.out / "runs",
        device=config.device,
        workers=config.workers,
        accumulation=config.accumulation,
    )


def paces_of(
    config: CompareConfig, comparison: Comparison, cells: list[Cell], at: Conditions, world: World
) -> tuple[Values, dict[str, str]]:
    """Speed, memory and arithmetic of all contenders, and why some have none."""
    wanted = {*comparison.measures, *([SECONDS] if config.seconds is not None else [])}
    if wanted & SPEED_MEASURES:
        console.print("measuring speed, all rows taking turns: nothing else should run now")
    return measure_speeds(cells, wanted, comparison.rounds, at, config.out / "cells", world)


def within(cell: Cell, seconds: float, pace: Values, at: Conditions, world: World) -> Cell:
    """The cell with as many steps as its own speed makes in so many seconds.

    Raises ValueError where its speed could not be measured.
    """
    step = pace[cell.contender.name].get(SECONDS)
    if not cell.contender.trained:
        return cell
    if step is None:
        raise ValueError("its speed could not be measured, so that there are no steps for the seconds")
    steps = world.from_main(lambda: steps_within(cell, seconds, step, at, world))
    return cell_of(cell.contender, cell.seed, at, cell.folder, steps=steps)


def row_of(contender: Contender, pace: Values, failures: dict[str, str], seed: int) -> Row:
    """A row with what does not depend on the seed; a failure there is the first seed's."""
    once = {name: value for name, value in pace.get(contender.name, {}).items() if name != SECONDS}
    failed = {seed: failures[contender.name]} if contender.name in failures else {}
    facts = {"paper": contender.paper, "quoted": contender.quoted, "control": contender.control}
    return Row(name=contender.name, once=once, failed=failed, **facts)


def fill(
    row: Row, cell: Cell, config: CompareConfig, comparison: Comparison, pace: Values, at: Conditions, world: World
) -> None:
    """Measure a cell into its row, and the reason why it failed, on whichever process."""
    reason = None
    try:
        if config.seconds is not None:
            cell = within(cell, config.seconds, pace, at, world)
        complete(cell, comparison.measures, world)
    except Exception as error:  # whatever a row fails by, the others go on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    reason = next((said for said in world.gather(reason) if said), None)
    if reason is not None:
        row.failed[cell.seed] = reason
    kept = {}
    with suppress(ValueError):  # a damaged file, which is the reason then
        kept = cell.measured()
    row.cells[cell.seed] = {name: kept[name]["value"] for name in comparison.measures if name in kept}
    row.devices.update(entry["device"] for name, entry in kept.items() if name == "seconds")


def in_words(row: Row, seed: int) -> str:
    """What came of a cell."""
    shown = [f"{COLUMNS[name].title} {COLUMNS[name].scale * value:.4g}" for name, value in row.cells[seed].items()]
    return ", ".join([*shown, *([f"failed: {row.failed[seed]}"] if seed in row.failed else [])])


def columns_of(comparison: Comparison) -> list[Column]:
    """What is shown, in the order of COLUMNS."""
    return [column for name, column in COLUMNS.items() if name in comparison.measures]


def stem(config: CompareConfig) -> Path:
    """Where the table is written, without suffix."""
    name = config.rows.stem if config.rows else f"table-{config.table:02}-{config.scale or USUAL}"
    return config.out / name


def write(config: CompareConfig, comparison: Comparison, rows: list[Row]) -> None:
    """Write the table as Markdown and JSON."""
    columns, place = columns_of(comparison), stem(config)
    remark = " ".join(part for part in (comparison.remark, about_devices(rows)) if part)
    text = to_markdown(comparison.title, rows, columns, comparison.figures, remark)
    plain = to_plain(rows, columns, comparison.figures)
    config.out.mkdir(parents=True, exist_ok=True)
    replace_text(Path(f"{place}.md"), text)
    said = {"title": comparison.title, "remark": remark} | plain
    replace_text(Path(f"{place}.json"), json.dumps(said, indent=2) + "\n")


def about_devices(rows: list[Row]) -> str:
    """That seconds come from several devices, if they do."""
    devices = sorted(set().union(*(row.devices for row in rows)))
    return f"Seconds were measured on several devices: {'; '.join(devices)}." if len(devices) > 1 else ""
