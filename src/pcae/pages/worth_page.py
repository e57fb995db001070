"""One HTML page that stands alone: whether pre-training is worth it, with its table, its pictures and its limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pcae.pages.html import write_html
from pcae.pictures.worth import draw_learning, draw_shares
from pcae.terminal import duration

MEASURES = {"knn": "kNN", "linear": "linear", "finetuned": "fine-tuned"}
"""What is measured of a row, in words."""


def write_worth_page(path: Path, found: Mapping[str, Any], explained: list[str]) -> None:
    """Write the page in one move. found: the fields of a `Worth`. explained: its sentences about the table."""
    rows = found["rows"]
    shares = {
        row["name"]: {MEASURES[name]: one for name, one in row["measures"].items() if name in MEASURES} for row in rows
    }
    curves = {row["name"]: [(one["seconds"], one) for one in row["curve"]] for row in rows}
    learning = draw_learning(curves)
    write_html(
        path,
        "worth.html",
        found=found,
        explained=explained,
        measures=MEASURES,
        duration=duration,
        shares=Markup(draw_shares(shares)),
        learning=None if learning is None else Markup(learning),
    )
