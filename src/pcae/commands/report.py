"""`pcae report`: one HTML page of a run."""

from typing import Any

from pcae.pages.run_page import report_run
from pcae.terminal import command, console


def show(found: dict[str, Any]) -> None:
    """Say where the page is."""
    console.print(f"the run on one page: {found['page']}")


run = command(report_run, show)
"""Write the page, and say where it is."""
