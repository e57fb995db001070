"""`pcae report`: one HTML page of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pcae.commands.reporting import PAGE
from pcae.commands.run_facts import read_run
from pcae.commands.run_page import facts_of, write_page
from pcae.commands.terminal import as_json, console
from pcae.training.checkpoint import check_writable


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write one page that says what a run did: settings, curves, health, probes, pictures, cost.

    The run may be finished, under way or interrupted. The page is a single file that needs no network.
    """

    run: Annotated[Path, Positional, arg(metavar="RUN")]
    """Run folder of `pcae pretrain` or `pcae finetune`."""
    out: Path | None = None
    """The page (.html); without it, report.html in the run folder."""
    json: bool = False
    """Print what the page says as JSON."""


def run(config: Config) -> None:
    """Read, write, and say where the page is."""
    found, path = read_run(config.run), config.out or config.run / PAGE
    check_writable(path, ".html")
    facts = facts_of(found)
    write_page(path, found, facts)
    if config.json:
        as_json(facts | {"page": str(path)})
    else:
        console.print(f"the run on one page: {path}")
