"""What `pcae show` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from pcae.settings.bounds import AnyImages
from pcae.settings.trained import KeepingConfig, ShownConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Show what a model keeps of images, stage by stage (Figures 2 and 4), how redundant it finds each patch, and its
    features as colours.

    Writes NAME.png and NAME.svg of each image, sheet-MODE.png and .svg of all of them, and index.html: a page that
    stands alone, with sliders for the stage and the drop ratio.
    """

    EXAMPLES = (
        "photos --weights runs/photos --out kept",
        "photos --weights runs/dial --modes classifier --drop-ratio 0.4 --out kept",
    )
    USUAL = "data weights out most_images modes mask_ratio keep_ratio drop_ratio seed split image_size device"

    data: AnyImages
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    out: Path
    """Folder to write to, outside IMAGES."""
    most_images: Annotated[int, Interval(ge=1, le=200)] = 24
    """Images that are shown, spread evenly over the data; at most 200."""
    keeping: KeepingConfig = KeepingConfig()
    shown: ShownConfig = ShownConfig()
    json: bool = False
    """Print what was written, and what was kept of each image, as JSON."""
