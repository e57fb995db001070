"""The page that every run ends with."""

from pathlib import Path

from pcae.commands.terminal import console, warn


def report_on(run: Path) -> None:
    """Write the page about a finished run, and say where it is; the run is no less finished where that fails.

    A page that was written after the run ended stays.
    """
    from pcae.commands.run_page import PAGE, write_report  # which knows the verbs that end with it

    page = run / PAGE
    if page.is_file() and page.stat().st_mtime >= (run / "summary.json").stat().st_mtime:
        return
    try:
        console.print(f"what the run did, on one page: {write_report(run)}")
    except (ValueError, OSError) as error:
        warn(f"no page about the run was written: {error}")
