"""`pcae compare`: methods and settings side by side, on the same images, budget and seeds."""

import sys

from pcae.comparison.compare import Compared, compare_rows, stem
from pcae.comparison.table import to_plain
from pcae.settings.verbs.compare import CompareConfig
from pcae.terminal import as_json, console, is_main_process, table, warn


def run(config: CompareConfig) -> None:
    """Compare and print. Exits with status 1 when a row failed."""
    found = compare_rows(config)
    if not is_main_process():
        return
    if config.json:
        as_json(to_plain(found.rows, found.columns, found.comparison.figures))
    else:
        show(found)
    pictures = "".join(f", {path}" for path in found.pictures)
    console.print(f"written: {stem(config)}.md, {stem(config)}.json{pictures}")
    failed = [row.name for row in found.rows if row.failed]
    if failed:
        warn(f"failed: {', '.join(failed)}; the same command tries them again, and nothing else")
        sys.exit(1)


def show(found: Compared) -> None:
    """Print the table, which is written already, and what belongs below it."""
    shown = found.table()
    table(shown.title, shown.columns, shown.rows)
    for line in found.explained():
        console.print(line)
