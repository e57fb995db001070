"""`pcae doctor`: versions, devices and data sets that pcae finds here."""

from typing import Any

from pcae.terminal import command, table
from pcae.training.machine import look


def show(found: dict[str, Any]) -> None:
    """Print a line for each thing."""
    table("what pcae finds here", ["", ""], [[name, str(value)] for name, value in found.items()])


run = command(lambda _: look(), show)
"""Look and print."""
