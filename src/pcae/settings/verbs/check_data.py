"""What `pcae check-data` is told."""

from dataclasses import dataclass
from pathlib import Path

from pcae.settings.bounds import AnyData, Count, HeldOut, Natural, Portion


@dataclass(frozen=True, kw_only=True)
class CheckDataConfig:
    """Look at every image, in parallel: unreadable files, duplicates, sizes, colours, labels, and a recipe.

    Where DATA has train and val (or validation, test) folders, both are read and held against one another.
    """

    EXAMPLES = ("photos", "photos --validation held-out --by runs/photos --out photos.html")
    ADDRESSES = ("parts",)

    data: AnyData
    """Folder, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    validation: HeldOut = None
    """Other data to hold against DATA: images that stand in both leak."""
    out: Path | None = None
    """A page to write, .html, with thumbnails."""
    parts: Path | None = None
    """Folder for what is found of each image, in parts as `pcae embed` writes them: after any end the same command goes
    on."""
    channels: int | None = None
    """Channels that a run would read; without it, 1 for `sample` and `fashion-mnist`, 3 for image files."""
    pixel_range: tuple[float, float] | None = None
    """Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1."""
    bands: tuple[Count, ...] | None = None
    """Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of them."""
    by: str | None = None
    """Weights of a trained model, as for `pcae embed`, by whose features it is chosen which images are compared:
    mirrored copies and parts of others are found too; without it, small gray copies of all are."""
    alike: Portion | None = None
    """Likeness from which on two images are near duplicates, in (0, 1]: correlation of small gray copies, with --by
    of details where one fits into the other; without it, 0.985, with --by 0.85."""
    workers: Natural | None = None
    """Processes that read images; without it, as many as there are cores."""
    device: str = "auto"
    """Where images are compared and what the recipe is for; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print everything as JSON."""
