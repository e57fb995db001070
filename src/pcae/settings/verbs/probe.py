"""What `pcae probe` is told."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from pcae.settings.bounds import AnyData, Count, HeldOut, Natural, Share
from pcae.settings.choices import Pool, Probe
from pcae.settings.labels import SplitConfig
from pcae.settings.trained import ProbeTrainingConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Classify held-out images by an encoder's features; the encoder stays as it is.

    knn: the labels of the most similar training images. linear: a linear layer on pooled features. attentive: a
    learned query that attends over the patch tokens, then a linear layer. Training images choose the learning rate.
    """

    EXAMPLES = ("labelled --weights runs/photos", "labelled --weights runs/photos --probes knn attentive --pixels")
    USUAL = "data weights validation probes k pool pixels most_images epochs device json"

    data: AnyData
    """Labelled images: a folder with train/CLASS and val/CLASS, `sample`, ...; or any with --validation."""
    validation: HeldOut = None
    """Held-out images from another folder or csv list."""
    probes: tuple[Probe, ...] = ("knn", "linear")
    """Which probes: knn, linear, attentive."""
    k: tuple[Count, ...] = (20,)
    """Neighbours that vote; several numbers are tried one by one."""
    pool: tuple[Pool, ...] | None = None
    """mean of the patch tokens, class token (cls), or both; without it, mean, and cls where the model has one."""
    pixels: bool = False
    """Probe raw pixels too: the baseline that any encoder should be held against."""
    most_images: Count | None = None
    """At most so many training and test images, drawn at random, for a quick look; without it, all of them."""
    token_gib: Annotated[float, Interval(ge=0)] = 4.0
    """GiB that patch tokens may take for the attentive probe; where they take more, every epoch encodes anew."""
    max_bad_files: Share = 0.05
    """Share of the images that may be unreadable, in [0, 1); they are left out and named at the end."""
    workers: Natural = 0
    """Processes that read images beside this one."""
    json: bool = False
    """Print everything as JSON."""
    model: TrainedConfig
    split: SplitConfig = SplitConfig()
    training: ProbeTrainingConfig = ProbeTrainingConfig()
