"""Frozen features of the images of all seeds, each image looked at once, and what probes of them get right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from pcae.comparison.worth.drawn import Drawn
from pcae.data.batches import whole_loader
from pcae.data.images import Images, open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import check_fit, readable
from pcae.evaluation.frozen import Cached, freeze
from pcae.evaluation.knn import knn_guesses
from pcae.evaluation.linear import linear_probe
from pcae.evaluation.probes import Examples, Probed
from pcae.model.pretrained import Pretrained
from pcae.settings.choices import Pool
from pcae.settings.given import Given
from pcae.settings.trained import ProbeTrainingConfig

PIXELS = 32
"""Side, at most, of the images whose pixels are features themselves."""
K = 20
"""Neighbours that vote."""
Answers = dict[str, Bool[NDArray, " images"]]
"""By measure, which held-out images were right."""


@dataclass
class Seen:
    """Pooled features of images by their name, of one way of pooling each: no image is looked at twice."""

    pooled: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def lacking(self, images: Images) -> list[int]:
        """The places of the images that were not looked at."""
        known = next(iter(self.pooled.values()), {})
        return [place for place, name in enumerate(images.names) if name not in known]

    def add(self, pool: str, names: Sequence[str], features: Float[Tensor, "images dim"]) -> None:
        """Take in features."""
        self.pooled.setdefault(pool, {}).update(zip(names, features, strict=True))

    def of(self, pool: str, images: Images) -> Cached:
        """Features of the images, in their order."""
        return Cached(torch.stack([self.pooled[pool][name] for name in images.names]))


def read_pixels(seen: Seen, images: Images, side: tuple[int, int], workers: int) -> None:
    """Take in the raw pixels of images. side: height and width; larger ones are PIXELS.

    Raises ValueError for an image that cannot be read.
    """
    size = (min(side[0], PIXELS), min(side[1], PIXELS))
    for batch in readable(whole_loader(images, size, None, 64, workers), BadFiles(images, 0.0)):
        seen.add("pixels", [images.names[place] for place in batch.indices], batch.pixels.flatten(1).float())


def look(seen: Seen, model: Pretrained, images: Images, workers: int, *, both: bool) -> None:
    """Encode the images that were not looked at: the mean of the patch tokens, and the class token where there is one.

    both: without it, the mean alone, since nothing has trained the class token.

    Raises ValueError for images that the model does not take.
    """
    rest = as_taken(model, images.at(np.array(seen.lacking(images), dtype=int)))
    if not len(rest):
        return
    pools: list[Pool] = ["mean", "cls"] if both and model.encoder.has_class_token else ["mean"]
    found = freeze(model, BadFiles(rest, 0.0), pools, workers=workers)
    for pool in pools:
        seen.add(pool, rest.names, found.pooled[pool].values)


def as_taken(model: Pretrained, images: Images) -> Images:
    """The images with the channels that a model takes."""
    facts = model.facts
    if not len(images):
        return images
    taken = open_images(Given(images, "images"), "train", facts.encoder.channels, facts.pixel_range, bands=facts.bands)
    check_fit(facts, taken)
    return taken


def probed(seen: Seen, pools: Iterable[str], drawn: Drawn, device: torch.device) -> Answers:
    """What nearest neighbours and a linear classifier get right on the held-out images.

    Of several ways of pooling, that is taken by which the linear one does best on the tenth of the training images
    that it holds out itself.
    """
    tried = {pool: linear(seen, pool, drawn, device) for pool in pools}
    pool = max(tried, key=lambda one: max(tried[one].selection.values()))
    train, test = seen.of(pool, drawn.train).values, seen.of(pool, drawn.held_out).values
    labels, k = labels_of(drawn.train), min(K, len(drawn.train))
    nearest = knn_guesses(train.to(device), labels.to(device), test.to(device), (k,))[k].cpu()
    truth = labels_of(drawn.held_out)
    return {
        "knn": (nearest == truth).numpy(),
        "linear": (torch.tensor(tried[pool].guesses) == truth).numpy(),
    }


def linear(seen: Seen, pool: str, drawn: Drawn, device: torch.device) -> Probed:
    """The linear probe of one way of pooling."""
    train, test = (Examples(seen.of(pool, some), labels_of(some)) for some in (drawn.train, drawn.held_out))
    config = ProbeTrainingConfig(seed=drawn.seed)
    return linear_probe(train, test, len(drawn.train.classes), config, device)


def labels_of(images: Images) -> Tensor:
    """The class of each image."""
    return torch.tensor(list(images.labels or ()))
