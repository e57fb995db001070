"""The page that every run ends with."""

from pathlib import Path

from pcae.commands.terminal import console, warn

PAGE = "report.html"
"""The page in a run folder."""


def report_on(run: Path) -> None:
    """Write the page about a finished run, and say where it is; the run is no less finished where that fails.

    A page that was written after the run ended stays.
    """
    from pcae.commands.run_page import write_report  # which knows the verbs that end with it

    page = run / PAGE
    try:
        if not page.is_file() or page.stat().st_mtime < (run / "summary.json").stat().st_mtime:
            write_report(run)
        console.print(f"the run on one page: {page}")
    except Exception as error:  # whatever it is, the run is finished
        warn(f"no page about the run was written: {error}")
