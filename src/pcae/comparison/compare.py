"""A comparison from settings to a table: which cells there are, measured one by one, and written after each."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pcae.comparison.cell import Cell, cell_of, complete
from pcae.comparison.paper_rows import paper_comparison, read_scale
from pcae.comparison.plots import plot
from pcae.comparison.rows import Comparison, Conditions, Row, digest_of, fingerprint, read_rows
from pcae.comparison.speed import SECONDS, SPEED_MEASURES, Values, measure_speeds, steps_within
from pcae.comparison.table import ACCURACIES, Column, ResultRow, explain, to_cells, to_markdown, to_plain
from pcae.data.images import open_images
from pcae.data.tables.labelled import open_labelled
from pcae.results import Block, Result, Table
from pcae.settings.choices import ScaleName
from pcae.settings.sources import Data
from pcae.settings.verbs.compare import CompareConfig
from pcae.terminal import console
from pcae.training.distributed import World, open_world
from pcae.writing import check_place, replace_json, replace_text

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


@dataclass(frozen=True, repr=False)
class Compared(Result):
    """A comparison, what all its rows share, and what came of each. pictures: of the table, once all is done."""

    config: CompareConfig
    comparison: Comparison
    at: Conditions
    rows: list[ResultRow] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    @property
    def columns(self) -> list[Column]:
        """What is shown, in the order of COLUMNS."""
        return [column for name, column in COLUMNS.items() if name in self.comparison.measures]

    def table(self) -> Table:
        """The table of all rows."""
        return Table(self.comparison.title, *to_cells(self.rows, self.columns, self.comparison.figures))

    def explained(self) -> list[str]:
        """What belongs below the table."""
        comparison = self.comparison
        lines = (*explain(self.rows, self.columns, comparison.figures), comparison.remark, about_devices(self.rows))
        return [line for line in lines if line]

    def blocks(self) -> list[Block]:
        """The table, what its signs mean, and why rows failed."""
        failed = [f"{row.name}, seed {seed}: {why}" for row in self.rows for seed, why in row.failed.items()]
        return [self.table(), *self.explained(), *failed]

    def records(self) -> list[dict[str, Any]]:
        """A row for each setting and seed: what was measured, and why it failed where it did."""
        return [
            {"setting": row.name, **row.once, **of_seed}
            for row in self.rows
            for of_seed in [seed_record(row, seed) for seed in sorted({*row.cells, *row.failed})] or [{}]
        ]

    def measure(self, world: World) -> None:
        """Fill in the rows, cell by cell. Every process calls it."""
        config, rows = self.config, [row for row in self.comparison.rows if not row.quoted]
        budget, folder = {} if config.epochs is None else {"epochs": config.epochs}, config.out / "cells"
        cells = [cell_of(row, seed, self.at, folder, **budget) for seed in config.seeds for row in rows]
        speeds, failures = world.from_main(lambda: self.speeds_of(cells[: len(rows)], world))
        self.rows.extend(result_of(row, speeds, failures, config.seeds[0]) for row in self.comparison.rows)
        results = {result.name: result for result in self.rows}
        for number, cell in enumerate(cells, start=1):
            result = results[cell.row.name]
            if not cell.row.speed_only:
                self.fill(result, cell, speeds, world)
                if world.is_main:
                    said = in_words(result, cell.seed)
                    console.print(f"{number} of {len(cells)}: {result.name}, seed {cell.seed}: {said}")
            if world.is_main:
                self.write()

    def speeds_of(self, cells: list[Cell], world: World) -> tuple[Values, dict[str, str]]:
        """Speed, memory and arithmetic of all rows, and why some have none."""
        wanted = {*self.comparison.measures, *([SECONDS] if self.config.seconds is not None else [])}
        if wanted & SPEED_MEASURES:
            console.print("measuring speed, all rows taking turns: nothing else should run now")
        return measure_speeds(cells, wanted, self.comparison.rounds, self.at, world)

    def fill(self, result: ResultRow, cell: Cell, speeds: Values, world: World) -> None:
        """Measure a cell into its row, and the reason why it failed, on whichever process."""
        reason, kept = None, {}
        try:
            cell = self.within(cell, speeds, world)
            complete(cell, self.comparison.measures, world)
        except Exception as error:  # whatever a row fails by, the others go on
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        reason = next((said for said in world.gather(reason) if said), None)
        if reason is not None:
            result.failed[cell.seed] = reason
        with suppress(ValueError):  # a damaged file, which is the reason then
            kept = cell.measured()
        measured = {name: kept[name]["value"] for name in self.comparison.measures if name in kept}
        result.cells[cell.seed] = measured
        result.devices.update(entry["device"] for name, entry in kept.items() if name == "seconds")

    def within(self, cell: Cell, speeds: Values, world: World) -> Cell:
        """The cell; under a budget of seconds, with as many steps as its own speed makes in them.

        Raises ValueError where its speed could not be measured.
        """
        seconds, step = self.config.seconds, speeds.get(cell.row.name, {}).get(SECONDS)
        if seconds is None or not cell.row.trained:
            return cell
        if step is None:
            raise ValueError("its speed could not be measured, so that there are no steps for the seconds")
        steps = world.from_main(lambda: steps_within(cell, seconds, step, self.at, world))
        return cell_of(cell.row, cell.seed, self.at, cell.folder, steps=steps)

    def write(self) -> None:
        """Write the table as Markdown and JSON."""
        comparison, rows, columns = self.comparison, self.rows, self.columns
        remark = " ".join(part for part in (comparison.remark, about_devices(rows)) if part)
        plain = to_plain(rows, columns, comparison.figures)
        replace_json(Path(f"{stem(self.config)}.json"), {"title": comparison.title, "remark": remark} | plain)
        text = to_markdown(comparison.title, rows, columns, comparison.figures, remark)
        replace_text(Path(f"{stem(self.config)}.md"), text)


def seed_record(row: ResultRow, seed: int) -> dict[str, Any]:
    """What a seed of a row came to, and why it failed where it did."""
    failed = {"failed": row.failed[seed]} if seed in row.failed else {}
    return {"seed": seed, **row.cells.get(seed, {}), **failed}


def compare_rows(config: CompareConfig) -> Compared:
    """Measure all cells that are not there yet; the table is written after each. Every process calls it."""
    check(config)
    with open_world(config.device) as world:
        data = data_of(config)
        check_place(config.out, data)
        comparison = world.main_first(lambda: comparison_of(config))
        found = Compared(config, comparison, world.main_first(lambda: conditions_of(config, data, comparison)))
        found.measure(world)
        place = Path(f"{stem(config)}.png")
        drawn = world.from_main(lambda: plot(place, comparison.title, found.rows, found.columns))
        return replace(found, pictures=drawn)


def data_of(config: CompareConfig) -> Data:
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


def conditions_of(config: CompareConfig, data: Data, comparison: Comparison) -> Conditions:
    """What all rows share. Raises ValueError where there are no images, or no labels that the measures need."""
    own = [row.pretrain for row in comparison.rows if not row.quoted]
    channels = {row.get("channels") or len(row.get("bands") or ()) or None for row in own}
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


def result_of(row: Row, speeds: Values, failures: dict[str, str], seed: int) -> ResultRow:
    """A row's result with what does not depend on the seed; a failure there is the first seed's."""
    return ResultRow(
        name=row.name,
        once={name: value for name, value in speeds.get(row.name, {}).items() if name != SECONDS},
        failed={seed: failures[row.name]} if row.name in failures else {},
        paper=row.paper,
        quoted=row.quoted,
        control=row.control,
    )


def in_words(result: ResultRow, seed: int) -> str:
    """What came of a cell."""
    shown = [f"{COLUMNS[name].title} {COLUMNS[name].scale * value:.4g}" for name, value in result.cells[seed].items()]
    return ", ".join([*shown, *([f"failed: {result.failed[seed]}"] if seed in result.failed else [])])


def stem(config: CompareConfig) -> Path:
    """Where the table is written, without suffix."""
    name = config.rows.stem if config.rows else f"table-{config.table:02}-{config.scale or USUAL}"
    return config.out / name


def about_devices(rows: list[ResultRow]) -> str:
    """That seconds come from several devices, if they do."""
    devices = sorted(set().union(*(row.devices for row in rows)))
    return f"Seconds were measured on several devices: {'; '.join(devices)}." if len(devices) > 1 else ""
