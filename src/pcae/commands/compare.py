"""`pcae compare`: methods and settings side by side, on the same images, budget and seeds."""

import sys
from pathlib import Path

from pcae.comparison.compare import about_devices, check, columns_of, compare, stem
from pcae.comparison.plots import plot
from pcae.comparison.rows import Comparison
from pcae.comparison.table import Row, explain, to_cells, to_plain
from pcae.settings.verbs.compare import CompareConfig
from pcae.terminal import as_json, console, table, warn
from pcae.training.distributed import open_world


def run(config: CompareConfig) -> None:
    """Compare and print. Exits with status 1 when a row failed."""
    check(config)
    with open_world(config.device) as world:
        comparison, rows = compare(config, world)
        world.from_main(lambda: report(config, comparison, rows))
    if world.is_main and any(row.failed for row in rows):
        sys.exit(1)


def report(config: CompareConfig, comparison: Comparison, rows: list[Row]) -> None:
    """Print the table, which is written already, and draw it."""
    columns, place = columns_of(comparison), stem(config)
    drawn = plot(Path(f"{place}.png"), comparison.title, rows, columns)
    if config.json:
        as_json(to_plain(rows, columns, comparison.figures))
    else:
        table(comparison.title, *to_cells(rows, columns, comparison.figures))
        for line in filter(None, (*explain(rows, columns, comparison.figures), comparison.remark, about_devices(rows))):
            console.print(line)
    pictures = ", ".join(str(path) for path in drawn)
    console.print(f"written: {place}.md, {place}.json{f', {pictures}' if drawn else ''}")
    failed = [row.name for row in rows if row.failed]
    if failed:
        warn(f"failed: {', '.join(failed)}; the same command tries them again, and nothing else")
