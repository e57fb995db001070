"""What `pcae demo` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from pcae.settings.bounds import Seed


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Pre-train a small ViT on the built-in sample by PCAE, probe it before and after, draw what the teacher kept.

    The recipe is `demo`, the best that we know for this data: what the teacher keeps is predicted as features and as
    pixels. It ends with a page about the run.
    """

    EXAMPLES = ("", "--steps 200 --out runs/demo")

    out: Path = Path("demo")
    """Folder for the run and the picture; a finished demo there is shown again, not run again."""
    steps: Annotated[int, Interval(gt=0)] | None = None
    """Optimizer steps; without it, the recipe's."""
    seed: Seed = 0
    """Decides the initial weights, the order of images, flips and masks."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print the table as JSON."""
