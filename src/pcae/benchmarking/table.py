"""What `pcae benchmark` found, as a table, as files and as a picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pcae.pictures.bars import draw_bars
from pcae.terminal import markdown_table
from pcae.writing import replace_json, replace_text


def columns(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Header, key and format of a table's columns, by what its rows have."""
    against = found.get("against")
    for column in (
        ("row", "row", ""),
        ("images/s", "images_per_second", ".2f"),
        ("least", "least", ".2f"),
        ("most", "most", ".2f"),
        (f"times {against}", "times_as_fast", ".2f"),
        ("per view", "per_view", ".2f"),
        ("GMACs", "training_gmacs", ".2f"),
        ("GMACs", "gmacs", ".2f"),
        ("MACs allow", "macs_allow", ".2f"),
        ("of matrix product", "share_of_matrix_product", ".0%"),
        ("waiting for data", "data_wait_share", ".0%"),
        ("peak MiB", "peak_bytes", "MiB"),
        ("kept MiB", "kept_bytes", "MiB"),
    ):
        if column[1] in found["rows"][0]:
            yield column


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The result as a table."""
    shown = list(columns(found))
    return [header for header, _, _ in shown], [
        [in_cell(row[key], form) for _, key, form in shown] for row in found["rows"]
    ]


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
