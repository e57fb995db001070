"""`pcae doctor`: versions, devices and data sets that pcae finds here."""

from typing import Any

from pcae.settings.verbs.doctor import DoctorConfig
from pcae.terminal import answer, table
from pcae.training.machine import look


def run(config: DoctorConfig) -> None:
    """Look and print."""
    answer(look(), config.json, show)


def show(found: dict[str, Any]) -> None:
    """Print a line for each thing."""
    table("what pcae finds here", ["", ""], [[name, str(value)] for name, value in found.items()])
