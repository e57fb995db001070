"""What `pcae report` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write one page that says what a run did: settings, curves, health, probes, pictures, cost.

    The run may be finished, under way or interrupted. The page is a single file that needs no network.
    """

    EXAMPLES = ("runs/photos", "runs/photos --out photos.html")

    run: Annotated[Path, Positional, arg(metavar="RUN")]
    """Run folder of `pcae pretrain` or `pcae finetune`."""
    out: Path | None = None
    """The page (.html); without it, report.html in the run folder."""
    json: bool = False
    """Print what the page says as JSON."""
