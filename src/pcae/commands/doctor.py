"""`pcae doctor`: versions, devices and data sets that pcae finds here."""

from pcae.settings.verbs.doctor import DoctorConfig
from pcae.terminal import as_json, table
from pcae.training.machine import look


def run(config: DoctorConfig) -> None:
    """Look and print."""
    found = look()
    if config.json:
        as_json(found)
    else:
        table("what pcae finds here", ["", ""], [[name, str(value)] for name, value in found.items()])
