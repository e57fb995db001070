"""Labels of images: how many each has, how often classes are shown and count, which images are held out."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Held-out images split off those for training."""

    val_fraction: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Share of the images of each class that is held out, in (0, 1), by their names and --seed, where DATA has no
    held-out images of its own; the validation.txt of a run names them."""
    group_column: str | None = None
    """Column of a .csv whose values, such as patients, stay together: with --val-fraction none is on both sides."""


@dataclass(frozen=True, kw_only=True)
class LabelsConfig(SplitConfig):
    """Labels, the balance of their classes, and held-out images."""

    multi_label: bool = False
    """Images show any number of classes, also none: a .csv of path,labels with | or ; between labels, or with a column
    of 0 and 1 for each class. Binary cross-entropy; the weights with the best mAP are kept."""
    class_weights: Literal["balanced"] | None = None
    """balanced: in the loss an image of a class counts images / (classes * images of the class); with --multi-label,
    the same for having and for lacking each class. Without it, all count alike."""
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """shuffle: an epoch shows each image once. balanced: as many images, but each class alike; those of a rare class
    several times, of a frequent one a part, another one in every epoch."""
