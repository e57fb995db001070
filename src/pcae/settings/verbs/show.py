"""What `pcae show` is told, and `pcae explore`, whose page shows that of any image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from pcae.settings.bounds import AnyData, AnyImages, Count
from pcae.settings.choices import Pool
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


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """Open a page on this machine to look through images with trained weights.

    It finds the images most like one of them or one of your own, shows which patches stay at a drop ratio, and a
    classifier's predictions and cost there. Marked images become a list of paths, which every verb takes as DATA.
    It is there for this machine alone, until Ctrl-C.
    """

    EXAMPLES = (
        "photos --weights runs/photos",
        "photos --weights runs/classifier --out blurred.txt --port 8000 --no-browser",
    )

    data: AnyData
    """Folder, image, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    model: TrainedConfig
    out: Path = Path("marked.txt")
    """The .txt list of marked images to write; one that is there is gone on with."""
    port: Annotated[int, Interval(ge=0, le=65_535)] = 0
    """Port of the page's address; 0 takes any free one."""
    browser: bool = True
    """Open the page in a browser, where there is a terminal and a display."""
    pool: Pool = "mean"
    """What images are compared by: mean of the patch tokens, or the class token (cls)."""
    batch_size: Count = 64
    """Images that are encoded at once before the page opens."""
    shown: ShownConfig = ShownConfig(split="train")
    json: bool = False
    """Print the address and what it is of as JSON."""
