"""What `pcae diversity` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from pcae.settings.bounds import AnyImages, Count
from pcae.settings.choices import Dropping
from pcae.settings.trained import ModelsConfig, ShownConfig


@dataclass(frozen=True, kw_only=True)
class DiversityConfig:
    """Measure the diversity of tokens at every layer: the nuclear norm of the sequence over its length (Appendix A).

    Images are seen whole, without class token, as a teacher sees its patches. With ptr among the reductions, what the
    paper says of dropped and kept tokens (sections 3.2 and 3.3) is measured, too.
    """

    EXAMPLES = (
        "photos --weights runs/photos random --out diversity",
        "sample --model vit_tiny_patch16_224 --seeds 3 --reductions none ptr",
    )
    USUAL = "data weights labels model seeds reductions keep_ratio stages most_images split out device json"

    data: AnyImages
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    models: ModelsConfig = ModelsConfig()
    reductions: tuple[Dropping, ...] = ("none", "random", "ptr")
    """none: all tokens stay. random, ptr: random ones, or those most like the mean, are dropped. sampled: all stay, but
    only those that random would keep are measured."""
    keep_ratio: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    """Share of the tokens that each stage keeps, in (0, 1)."""
    stages: Count = 3
    """Times that tokens are dropped: after blocks 0, 4, 8 of 12, likewise for other numbers."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    out: Path | None = None
    """Folder for diversity.png, claims.png (both also .svg) and diversity.json."""
    shown: ShownConfig = ShownConfig()
    json: bool = False
    """Print everything as JSON."""
