"""The page that every run ends with."""

from pathlib import Path

from pcae.commands.terminal import console, warn


def report_on(run: Path) -> None:
    """Write the page about a run, and say where it is; a run is no less finished where that fails."""
    from pcae.commands.run_page import write_report  # which knows the verbs that end with it

    try:
        console.print(f"what the run did, on one page: {write_report(run)}")
    except (ValueError, OSError) as error:
        warn(f"no page about the run was written: {error}")
