"""`pcae benchmark`: the speed of training, of reading images and of inference, all rows side by side in one run."""

from typing import Any

from pcae.benchmarking.speed import measure_speed
from pcae.benchmarking.table import cells
from pcae.terminal import command, table


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    table(found["title"], *cells(found))


run = command(measure_speed, show)
"""Measure and print."""
