"""What `pcae benchmark` found, as a table, as files and as a picture."""

from pathlib import Path
from typing import Any

from pcae.pictures.bars import draw_bars
from pcae.terminal import markdown_table
from pcae.writing import replace_json, replace_text

COLUMNS = {
    "row": ("row", ""),
    "images_per_second": ("images/s", ".2f"),
    "least": ("least", ".2f"),
    "most": ("most", ".2f"),
    "times_as_fast": ("times {against}", ".2f"),
    "per_view": ("per view", ".2f"),
    "training_gmacs": ("GMACs", ".2f"),
    "gmacs": ("GMACs", ".2f"),
    "macs_allow": ("MACs allow", ".2f"),
    "share_of_matrix_product": ("of matrix product", ".0%"),
    "data_wait_share": ("waiting for data", ".0%"),
    "peak_bytes": ("peak MiB", "MiB"),
    "kept_bytes": ("kept MiB", "MiB"),
}
"""Header and format of a column, by the key that rows have."""


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The result as a table, with the columns that its rows have."""
    shown = {key: column for key, column in COLUMNS.items() if key in found["rows"][0]}
    headers = [header.format(against=found.get("against")) for header, _ in shown.values()]
    return headers, [[in_cell(row[key], form) for key, (_, form) in shown.items()] for row in found["rows"]]


def in_cell(value: Any, form: str) -> str:
    """A value in a table."""
    if value is None:
        return "–"
    return f"{value / 2**20:.0f}" if form == "MiB" else f"{value:{form}}"


def write(out: Path, found: dict[str, Any]) -> None:
    """JSON, Markdown and a picture."""
    replace_json(out, found)
    replace_text(out.with_suffix(".md"), f"## {found['title']}\n\n{markdown_table(*cells(found))}\n")
    key, axis = {
        "train": ("per_view", f"times as fast as {found.get('against')}, per view"),
        "loader": ("images_per_second", "images per second"),
        "inference": ("times_as_fast", "times as fast as drop ratio 0 at the same batch size"),
    }[found["mode"]]
    draw_bars(out.with_suffix(".png"), found["title"], {row["row"]: row[key] for row in found["rows"]}, axis)
