"""What `pcae tune` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from pcae.settings.bounds import AnyData, Count, Positive
from pcae.settings.choices import CriterionName
from pcae.settings.trained import ShownConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Find the reduction that costs a classifier least at a speed, on this machine, and write it to a file.

    Rules and places are tried on some images, with labels, or without them by how often the answer is the whole
    model's. Every speed is measured beside the whole model, in turns. `evaluate`, `predict` and `export` take the file:
    --reduction FILE. Give one of --faster, --ms and --at-most-lost.
    """

    EXAMPLES = (
        "labelled --weights runs/classifier --faster 1.5",
        "photos --weights runs/classifier --no-labels --ms 20 --batch-size 1 --out camera.yaml",
    )
    USUAL = "data weights faster ms at_most_lost labels runtime batch_size most_images out device json"

    data: AnyData
    """Some images like those that will be classified: a folder, a list, shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    faster: Annotated[float, Interval(gt=1, le=100)] | None = None
    """How many times as fast as the whole model it shall be."""
    ms: Positive | None = None
    """Milliseconds that a batch may take."""
    at_most_lost: Annotated[float, Interval(ge=0, lt=100)] | None = None
    """Points of accuracy that may be lost, as fast as that goes; without labels, percent of answers that may be
    others."""
    labels: bool = True
    """Count right answers; where there are no labels, or they shall not be looked at, answers that are the whole
    model's."""
    criteria: tuple[CriterionName, ...] | None = None
    """Criteria that are tried; without it, mean-similarity, bipartite and token-importance."""
    runtime: Literal["torch", "onnxruntime"] = "torch"
    """What runs the model: PyTorch, or ONNX Runtime on the CPU, for which each candidate is exported."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of PyTorch's matrix products; bf16 is for GPUs that have it."""
    batch_size: Count | None = None
    """Images of a batch whose time counts; without it 1 with --ms, else 16 on a CPU and 256 elsewhere."""
    most_images: Count = 1000
    """At most so many images, drawn at random."""
    rounds: Count = 5
    """Turns that each finalist has in the measurement of speed; the others have 2."""
    out: Path = Path("reduction.yaml")
    """The file to write; a picture, accuracy against speed, is written beside it as .png."""
    shown: ShownConfig = ShownConfig()
    json: bool = False
    """Print what was tried as JSON."""
