"""How images are read."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from pcae.settings.bounds import Count, Natural, Portion, Positive, Share

MOST_SIDE = 20_000
"""Pixels of a side of a view: above it, a slip of the hand."""
Side = Annotated[int, Interval(ge=1, le=MOST_SIDE)]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How images are read."""

    crop_scale: tuple[Portion, Portion] = (0.2, 1.0)
    """Least and most share of an image's area in a random crop; 1 1 takes whole images."""
    flip: bool = True
    """Mirror half of the images, left to right."""
    mean: tuple[float, ...] | None = None
    """Mean of the pixels in [0, 1] by channel; without it, computed from the data."""
    std: tuple[float, ...] | None = None
    """Standard deviation of the pixels by channel; without it, computed from the data."""
    pixel_range: tuple[float, float] | None = None
    """Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1."""
    bands: tuple[Count, ...] | None = None
    """Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of them."""
    max_bad_files: Share = 0.05
    """Share of the images that may be unreadable, in [0, 1); others take their place. More end the run."""
    workers: Natural | None = None
    """Processes that read images; without it, one less than the cores of each GPU's share, and none on a CPU."""
    stream: bool = False
    """Read shards (.tar, .parquet, hf:NAME) in order, with nothing held of each image; those of an index always are."""
    lanes: int | None = None
    """For streams: equal parts of every batch, each read in order by itself; a multiple of processes x accumulation
    that divides the batch size. Without it as many as fit, up to 64. It decides the order."""
    shuffle: Count | None = None
    """For streams: samples in a row of a lane that are shown in random order, and held in memory; without it 64."""


REPLACED = {"crop_scale": (1.0, 1.0), "flip": False, "auto_augment": "none", "erasing": 0.0}
"""Settings in whose place a caller's transform stands, and what they are then."""


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Augmentation beside crops and flips; the defaults are MAE's for fine-tuning."""

    auto_augment: str = "rand-m9-mstd0.5-inc1"
    """timm's name of a policy of random distortions: rand-m9-mstd0.5-inc1 is RandAugment 9 / 0.5; none for none."""
    erasing: Annotated[float, Interval(ge=0, le=1)] = 0.25
    """Probability that a random rectangle of a crop becomes noise, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How images with objects are varied in training."""

    views: Literal["multi-scale", "jitter"] = "multi-scale"
    """Whole images in several sizes, or large-scale jitter: resized far more, then cropped and padded to one size."""
    shortest_sides: tuple[Count, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    """Pixels of the shorter side in multi-scale views, one of them each time."""
    longest_side: Side = 1333
    """Pixels that the longer side may have; the shorter one is then smaller, too."""
    jitter_size: tuple[Side, Side] = (1024, 1024)
    """Height and width of jittered views."""
    jitter_scale: tuple[Positive, Positive] = (0.1, 2.0)
    """Least and most of the size in which an image just fits into a jittered view."""
    padding: Annotated[int, Interval(ge=0, le=255)] = 114
    """How light, from 0 to 255, is what surrounds an image smaller than a jittered view; photographs have this mean."""
    mirror: bool = True
    """Mirror half of the views, left to right."""


@dataclass(frozen=True, kw_only=True)
class AnnotationConfig:
    """How annotations of objects are read."""

    max_bad_annotations: Share = 1e-4
    """Share of the annotations that may be wrong in themselves, such as boxes of no area; they are left out. Two of
    COCO's own 860,001 are wrong."""
    crowds_as_objects: bool = False
    """Take annotations with iscrowd 1 as objects: supervision writes it for masks with holes or several parts, datumaro
    for every mask."""
    masks: Literal["auto", "always", "never"] = "auto"
    """auto: masks where objects have them, else boxes alone (Faster R-CNN); always: an object without a mask counts as
    wrong; never: boxes alone."""


THREADS = 32
"""Shards whose samples are counted at once."""
