"""`pcae neighbours`: the images whose features are most like those of others."""

from pcae.inference.neighbours import Neighbours, find_neighbours
from pcae.results import print_result
from pcae.settings.verbs.embed import NeighboursConfig
from pcae.terminal import as_json, console


def run(config: NeighboursConfig) -> None:
    """Search, and print or say what was written."""
    found = find_neighbours(config)
    if config.json:
        as_json({"search": found.search, "rows": found.rows, "bad_files": found.bad_files, "out": found.out})
    elif config.out is not None:
        show(found)
    else:
        print_result(found)


def show(found: Neighbours) -> None:
    """Say what was written."""
    console.print(f"neighbours of {len(found.rows)} images in {found.out} ({found.search} search)")
