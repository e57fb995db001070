"""`pcae worth` from settings to a verdict: what cannot be is refused before anything is written."""

from dataclasses import replace

from pcae.comparison.worth.budget import Clock
from pcae.comparison.worth.cheap import look_at_all
from pcae.comparison.worth.drawn import draw, small_classes
from pcae.comparison.worth.result import Worth, result_of
from pcae.comparison.worth.rows import rows_of
from pcae.comparison.worth.runs import Runs
from pcae.comparison.worth.work import Work
from pcae.pages.worth_page import write_worth_page
from pcae.settings.bounds import check_bounds
from pcae.settings.verbs.compare import WorthConfig
from pcae.terminal import console
from pcae.training.distributed import open_world
from pcae.writing import check_place, replace_json

CELLS, FOUND, PAGE = "cells", "worth.json", "worth.html"
"""What the folder holds."""


def worth(config: WorthConfig) -> Worth:
    """Find out, and write the page. Raises ValueError for what cannot be, before anything is written."""
    clock = Clock(60 * config.minutes)
    check(config)
    with open_world(config.device) as world:
        drawn, own = draw(config)
        rows = rows_of(config, drawn[0].train)
        runs = Runs(config, world, config.out)
        drawn, seen = look_at_all(runs, drawn, rows, clock)
        for row in rows:
            console.print(f"{row.name}: {row.says}")
        work = Work(runs, clock, rows, drawn, small_classes(drawn[0]), seen)
        clock.go_on(config.out / CELLS / f"minutes-{work.digest()}.json")
        work.do()
        found = replace(result_of(work, own=own), page=str(config.out / PAGE))
    replace_json(config.out / FOUND, vars(found))
    write_worth_page(config.out / PAGE, vars(found), found.explained())
    return found


def check(config: WorthConfig) -> None:
    """Raise ValueError for settings that cannot be."""
    check_bounds(config)
    for name in ("seeds", "weights"):
        value = getattr(config, name)
        if len(set(value)) != len(value) or (name == "seeds" and not value):
            raise ValueError(f"{name} needs {'at least one value, and ' if name == 'seeds' else ''}each once")
    check_place(config.out, config.data)
    if config.out.is_dir() and any(config.out.iterdir()) and not (config.out / CELLS).is_dir():
        raise ValueError(f"out {str(config.out)!r} holds something else than pcae worth writes; choose another --out")
