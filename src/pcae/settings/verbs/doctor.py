"""What `pcae doctor` is told."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Say what this machine offers, and what a run would use by default."""

    EXAMPLES = ("", "--json")

    json: bool = False
    """Print as JSON."""
