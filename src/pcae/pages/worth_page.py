"""One HTML page that stands alone: whether pre-training is worth it, with its table and curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pcae.pages.html import write_html


def write_worth_page(path: Path, found: Mapping[str, Any]) -> None:
    """Write the page in one move. found: the fields of a `Worth`."""
    write_html(path, "worth.html", found=found)
