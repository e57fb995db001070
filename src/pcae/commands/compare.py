"""`pcae compare`: methods and settings side by side, on the same images, budget and seeds."""

import sys

from pcae.comparison.compare import Compared, about_devices, compare_rows
from pcae.comparison.table import explain, to_cells, to_plain
from pcae.settings.verbs.compare import CompareConfig
from pcae.terminal import as_json, console, table, warn


def run(config: CompareConfig) -> None:
    """Compare and print. Exits with status 1 when a row failed."""
    found = compare_rows(config)
    if found.is_main:
        show(found, config.json)
        failed = [row.name for row in found.rows if row.failed]
        if failed:
            warn(f"failed: {', '.join(failed)}; the same command tries them again, and nothing else")
            sys.exit(1)


def show(found: Compared, in_json: bool) -> None:
    """Print the table, which is written already."""
    rows, columns, figures = found.rows, found.columns, found.comparison.figures
    if in_json:
        as_json(to_plain(rows, columns, figures))
    else:
        table(found.comparison.title, *to_cells(rows, columns, figures))
        for line in (*explain(rows, columns, figures), found.comparison.remark, about_devices(rows)):
            if line:
                console.print(line)
    pictures = "".join(f", {path}" for path in found.pictures)
    console.print(f"written: {found.stem}.md, {found.stem}.json{pictures}")
