"""What the numbers, curves and files of a run mean, in words for the page of `pcae report`: those of report.yaml."""

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml


@dataclass(frozen=True)
class Plot:
    """Numbers of metrics.jsonl that are drawn together, by the names that they have in the picture; what they mean.

    share: they are shares. log: they may differ by powers of ten. floor: it matters how far from 0 they are. quiet:
    there is nothing to see while they are 0.
    """

    title: str
    says: str
    lines: dict[str, str]
    share: bool = False
    log: bool = False
    floor: bool = False
    quiet: bool = False


TEXT: dict[str, Any] = yaml.safe_load((resources.files("pcae.pages") / "report.yaml").read_text(encoding="utf-8"))
CURVES, HEALTH, PROBES, DETECTION = (
    tuple(Plot(**plot) for plot in TEXT[name]) for name in ("curves", "health", "probes", "detection")
)
PLOTS = CURVES + HEALTH + PROBES + DETECTION
OTHER: str = TEXT["other"]
"""Of a number that stands in no plot."""
NUMBERS: dict[str, str] = TEXT["numbers"]
"""What a main number counts, behind its value, in the order of the page."""
SHARES: set[str] = {name.removeprefix("probe/") for plot in PLOTS if plot.share for name in plot.lines}.union(
    TEXT["shares"]
)
"""Numbers that are shown in per cent."""
FILES: dict[str, str] = TEXT["files"]
"""What the files of a run folder are."""
