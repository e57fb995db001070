"""`pcae report`: one HTML page of a run."""

from typing import Any

from pcae.pages.run_page import report_run
from pcae.settings.verbs.report import ReportConfig
from pcae.terminal import answer, console


def run(config: ReportConfig) -> None:
    """Write the page, and say where it is."""
    answer(report_run(config), config.json, show)


def show(found: dict[str, Any]) -> None:
    """Say where the page is."""
    console.print(f"the run on one page: {found['page']}")
