"""One HTML page that stands alone: what a run did."""

import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pcae.evaluation.estimates import in_percent
from pcae.evaluation.run_metrics import Curve
from pcae.methods.health import most_directions
from pcae.pages.feature_map import feature_map
from pcae.pages.html import as_address, write_html
from pcae.pages.kept_tokens import draw_run
from pcae.pages.run_data import (
    RunData,
    classes_of,
    cost_of,
    images_of,
    last_written,
    numbers_of,
    read_run,
    steps_of,
    versions_of,
)
from pcae.pages.run_settings import settings_of, shown
from pcae.pages.run_text import CURVES, DETECTION, FILES, HEALTH, NUMBERS, OTHER, PLOTS, PROBES, SHARES, Plot
from pcae.pages.run_verdict import verdict_of
from pcae.pictures.run_curves import draw_curves
from pcae.results import Block, Record, Table
from pcae.settings.sources import in_words
from pcae.settings.verbs.report import ReportConfig
from pcae.terminal import console, duration, warn
from pcae.writing import check_writable

PAGE = "report.html"
"""The page in a run folder."""
MOST_BAD_FILES = 30
"""Files that could not be read, of those that the page names."""


class RunReport(Record):
    """What the page of a run says, and where it is (`page`)."""

    def blocks(self) -> list[Block]:
        """The main numbers, and what looked wrong."""
        rows = [[what, text] for text, what in main_numbers(self)]
        verdict = self["verdict"]
        says = [verdict["says"], *([f"next: {verdict['command']}"] if verdict["command"] else [])]
        return [Table(f"{self['run']}: {self['page']}", ["", "value"], rows), *says, *self["warnings"]]

    def records(self) -> list[dict[str, Any]]:
        """One row: its numbers, health and probes."""
        return [{**self["state"], **self["numbers"], **self["health"], **self["probes"]}]


def report_run(config: ReportConfig) -> RunReport:
    """Write the page that is asked for; what it says and where it is, as JSON has it. Raises as `write_report` does."""
    path = config.out or config.run / PAGE
    found = read_run(config.run)
    check_writable(path, ".html")
    facts = facts_of(found)
    write_page(path, found, facts)
    return RunReport(facts, page=str(path))


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run folder, finished or not, in one move; returns where it is.

    Raises ValueError when it is no run folder, or when the page cannot be written.
    """
    return Path(report_run(ReportConfig(run=run, out=out))["page"])


def facts_of(run: RunData) -> dict[str, Any]:
    """What the page says, as JSON has it."""
    try:
        cost = cost_of(run)
    except ValueError as error:
        cost = {"not_known": str(error)}
    return {
        "run": str(run.folder),
        "verb": run.verb,
        "verdict": dataclasses.asdict(verdict_of(run)),
        "state": {"finished": run.summary is not None, "step": run.step, "steps": steps_of(run)},
        "numbers": numbers_of(run),
        "health": run.metrics.last("health/"),
        "probes": run.metrics.last("probe/"),
        "warnings": list(run.metrics.warnings.values()),
        "cost": cost,
        "versions": versions_of(run),
    }


def write_page(path: Path, run: RunData, facts: dict[str, Any]) -> None:
    """Draw what is to be drawn, and write."""
    confusion = run.folder / "confusion.png"
    write_html(
        path,
        "report.html",
        facts=facts,
        title=title_of(run),
        last_written=last_written(run),
        unreadable=run.metrics.unreadable,
        numbers=main_numbers(facts),
        curves=[*cards(run, CURVES), *cards(run, other_plots(run))],
        health=cards(run, HEALTH),
        probes=cards(run, (*PROBES, *DETECTION)),
        by_class=classes_of(run),
        confusion=as_address(confusion.read_bytes(), "png") if confusion.is_file() else None,
        kept=kept_picture(run),
        bars=bars_of(run),
        map=map_of(run),
        settings=settings_of(run),
        odd={name: shown(value) for name, value in run.odd.items()},
        files=list(files_of(run.folder)),
        bad_files=run.bad_files[:MOST_BAD_FILES],
    )


def title_of(run: RunData) -> str:
    """What the run is, in one line."""
    config = run.config
    if run.verb == "pretrain":
        side = " x ".join(map(str, config.encoder.image_size))
        return f"Pre-training by {config.method.method}: {config.encoder.model} at {side}, on {in_words(config.data)}"
    begun = config.weights or "random weights"
    if run.verb == "detect train":
        return f"Detection: R-CNN from {begun}, on {in_words(config.data)}"
    classes = run.facts.get("classes")
    what = f"a classifier of {len(classes)} classes" if classes else "a classifier"
    return f"Fine-tuning: {what} from {begun}, on {in_words(config.data)}"


def main_numbers(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Each main number as text, and what it counts."""
    numbers = facts["numbers"] | facts["probes"]
    intervals = numbers.get("intervals") or {}
    return [
        (value_of(name, numbers[name], intervals.get(name)), what)
        for name, what in NUMBERS.items()
        if numbers.get(name) is not None
    ]


def value_of(name: str, value: int | float, interval: Sequence[float] | None = None) -> str:
    """A main number as text."""
    if name in SHARES:
        return f"{value:.1%}" if interval is None else in_percent(value, interval)
    if name == "seconds":
        return duration(value)
    return f"{value:,}" if isinstance(value, int) else short(value)


def short(value: float) -> str:
    """A number with four digits, plain where that is readable."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def cards(run: RunData, plots: Iterable[Plot]) -> list[dict[str, Any]]:
    """What the page shows of plots whose numbers are there."""
    found = []
    for plot in plots:
        curves = {label: run.metrics.curves[name] for name, label in plot.lines.items() if name in run.metrics.curves}
        if curves and not (plot.quiet and all(curve.highest == 0 for curve in curves.values())):
            found.append(card(run, plot, curves))
    return found


def card(run: RunData, plot: Plot, curves: dict[str, Curve]) -> dict[str, Any]:
    """A plot, its last values and what they mean."""
    svg = draw_curves(curves, re.sub(r"\W+", "-", plot.title.lower()), share=plot.share, log=plot.log, floor=plot.floor)
    say: Callable[[float], str] = (lambda value: f"{value:.1%}") if plot.share else short
    alone = f"{next(iter(curves))} " if len(curves) == 1 else ""
    every = sum(len(curve.values) for curve in curves.values())
    odd = every - sum(len(curve.finite) for curve in curves.values())
    return {
        "title": plot.title,
        "says": plot.says.replace("{most}", str(directions(run))),
        "svg": Markup(svg) if svg else None,
        "last": ", ".join(f"{label} {say(curve.last)}" for label, curve in curves.items()).removeprefix(alone),
        "remark": f"{odd:,} of {every:,} values are not finite" if odd else None,
        "width": max(curve.width for curve in curves.values()),
    }


def directions(run: RunData) -> int:
    """What an effective rank cannot exceed, as far as is known."""
    images = run.header.get("settings", {}).get("images") or numbers_of(run).get("images", 10**9)
    return most_directions(images, run.config.encoder.width if run.verb == "pretrain" else None)


def other_plots(run: RunData) -> Iterator[Plot]:
    """A plot for each number that has no words."""
    known = {name for plot in PLOTS for name in plot.lines}
    for name in run.metrics.curves:
        if name not in known:
            yield Plot(name, OTHER, {name: name})


def kept_picture(run: RunData) -> dict[str, str]:
    """The picture of what the run keeps of its own images, or why there is none."""
    if run.summary is None:
        return {"missing": "it is drawn once the run is finished"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.png"
        try:
            draw_run(run.folder, images_of(run), path)
        except (ValueError, OSError) as error:
            return {"missing": str(error)}
        return {"picture": as_address(path.read_bytes(), "png")}


def map_of(run: RunData) -> dict[str, Any] | None:
    """What the features of a pre-training run are like, or why that is not shown; None for other runs."""
    if run.verb != "pretrain":
        return None
    try:
        return feature_map(run)
    except (ValueError, OSError) as error:
        return {"missing_map": str(error)}


def bars_of(run: RunData) -> list[tuple[str, float]]:
    """Shares of held-out images that nearest neighbours sort right: by pixels, as the run began, and now."""
    curves = run.metrics.curves
    if "probe/knn" not in curves:
        return []
    begun = run.config.init or "random weights"
    pixels = [("raw pixels", curves["probe/knn_pixels"].last)] if "probe/knn_pixels" in curves else []
    return [*pixels, (begun, curves["probe/knn"].values[0]), ("this run", curves["probe/knn"].last)]


def files_of(folder: Path) -> Iterator[dict[str, str]]:
    """What lies in a run folder, how large it is, and what it is."""
    for path in sorted(folder.iterdir()):
        yield {"name": path.name, "size": megabytes(bytes_of(path)), "what": FILES.get(path.name, "no file of a run's")}


def bytes_of(path: Path) -> int:
    """Size of a file or of all in a folder; a run under way may take some away meanwhile."""
    with suppress(FileNotFoundError):
        return sum(map(bytes_of, path.iterdir())) if path.is_dir() else path.stat().st_size
    return 0


def megabytes(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def report_on(run: Path) -> None:
    """Write the page about a finished run, and say where it is; the run is no less finished where that fails.

    A page that was written after the run ended stays.
    """
    page = run / PAGE
    try:
        if not page.is_file() or page.stat().st_mtime < (run / "summary.json").stat().st_mtime:
            write_report(run)
        console.print(f"the run on one page: {page}")
    except Exception as error:  # whatever it is, the run is finished
        warn(f"no page about the run was written: {error}")
