"""`pcae report`: one HTML page of a run."""

from pcae.pages.run_data import read_run
from pcae.pages.run_page import PAGE, facts_of, write_page
from pcae.settings.verbs.report import ReportConfig
from pcae.terminal import as_json, console
from pcae.writing import check_writable


def run(config: ReportConfig) -> None:
    """Read, write, and say where the page is."""
    found, path = read_run(config.run), config.out or config.run / PAGE
    check_writable(path, ".html")
    facts = facts_of(found)
    write_page(path, found, facts)
    if config.json:
        as_json(facts | {"page": str(path)})
    else:
        console.print(f"the run on one page: {path}")
