"""Images that show any number of classes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.data.images import Images, in_order
from pcae.data.tables.labels import several_each
from pcae.settings.sources import Data, quoted


def with_label_sets(images: Images, data: Data, classes: Sequence[str] | None = None) -> Images:
    """Images with the places of the classes that each shows, which may be none.

    classes: those that may be; without them, those that the source declares, else all that some image shows. Raises
    ValueError, with the remedy, for images without labels and for unknown classes.
    """
    words = label_words(images, data)
    if classes is None:
        declared = images.said is None or images.said.declared
        classes = images.classes if declared and images.classes else in_order({word for some in words for word in some})
    if not any(words):
        raise ValueError(f"data {quoted(data)} has no image with a label; label some of them")
    places = {name: place for place, name in enumerate(classes)}
    odd = sorted({word for some in words for word in some} - places.keys())
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ValueError(
            f"data {quoted(data)} has images of classes that are not among the {len(classes)} known ones: "
            f"{', '.join(map(repr, odd[:3]))}{more}; name the classes alike"
        )
    sets = [tuple(sorted(places[word] for word in some)) for some in words]
    return replace(images, labels=None, label_sets=sets, classes=classes)


def label_words(images: Images, data: Data) -> list[tuple[str, ...]]:
    """The names of the classes that each image shows. Raises ValueError, with the remedy, where nothing says them."""
    if images.said is not None:
        try:
            return several_each(images.said, images.short)
        except ValueError as error:
            raise ValueError(f"data {quoted(data)}: {error}") from error
    if images.labels is None:
        reason = f"counts no labels: {images.unlabelled}" if images.unlabelled else "has no labels"
        remedy = "" if images.unlabelled else "; a .csv of path,labels with | between labels has some"
        raise ValueError(f"data {quoted(data)} {reason}{remedy}")
    return [(images.classes[label],) for label in images.labels]


def targets_of(images: Images) -> Int[Tensor, " images"] | Float[Tensor, "images classes"]:
    """The class of each image; or rows of 0 and 1, where it may show several."""
    if images.label_sets is None:
        return torch.tensor(images.labels)
    rows = torch.zeros(len(images), len(images.classes))
    for row, places in zip(rows, images.label_sets, strict=True):
        row[list(places)] = 1
    return rows


def counts_of(images: Images) -> Int[Tensor, "*sides classes"]:
    """Images of each class; where they may show several, those that show it and those that do not."""
    if images.label_sets is None:
        return torch.bincount(torch.tensor(images.labels), minlength=len(images.classes))
    having = targets_of(images).sum(0).long()
    return torch.stack([having, len(images) - having])
