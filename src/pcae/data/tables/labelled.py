"""Training and held-out images, labelled with the same classes."""

from collections.abc import Sequence
from dataclasses import replace

from pcae.data.files.decode import PixelRange
from pcae.data.images import Images, open_images

REMEDY = "use a folder with train/CLASS/... and val/CLASS/..., or --validation OTHER"


def open_labelled(
    data: str, channels: int | None = None, pixel_range: PixelRange | None = None, validation: str | None = None
) -> tuple[Images, Images]:
    """Training and held-out images; the labels of both count through the training images' classes.

    The held-out images are those of `validation`, else the test split of `data`. They may lack classes, and may have
    none of their own. Raises ValueError with the remedy.
    """
    train = open_images(data, "train", channels, pixel_range)
    held_out = open_images(validation or data, "test", train.channels, train.pixel_range)
    for name, images in ((data, train), (validation or data, held_out)):
        if images.stream is not None:
            raise ValueError(f"data {name!r} is a stream, which has no labels; give the folder of its shards instead")
        if images.labels is None:
            raise ValueError(f"data {name!r} has no labels; {REMEDY}")
    if list(train.names) == list(held_out.names):
        raise ValueError(f"data {validation or data!r} has no held-out images; {REMEDY}")
    if len(train.classes) < 2:
        raise ValueError(f"data {data!r} has one class only, {train.classes[0]!r}; two or more can be told apart")
    return train, with_classes(held_out, train.classes, validation or data)


def with_classes(images: Images, classes: Sequence[str], data: str) -> Images:
    """Labelled images with their labels by the place of the class in `classes`, by name.

    Raises ValueError naming classes that do not stand there.
    """
    odd = sorted(set(images.classes) - set(classes))
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ValueError(
            f"data {data!r} has held-out images of classes that no training image has: "
            f"{', '.join(map(repr, odd[:3]))}{more}; name the folders alike"
        )
    places = {name: place for place, name in enumerate(classes)}
    labels = [places[images.classes[label]] for label in images.labels or []]
    return replace(images, labels=labels, classes=classes)


def for_classifier(images: Images, classes: Sequence[str], data: str) -> Images:
    """Labelled images with their labels by the place of the class among a classifier's, by name.

    A classifier whose classes have no names ("0", "1", ...) takes as many classes in the order of their names.
    Raises ValueError naming what does not fit.
    """
    if images.labels is None:
        raise ValueError(f"data {data!r} has no labels; {REMEDY}")
    if not set(images.classes) <= set(classes):
        unnamed = list(classes) == [str(place) for place in range(len(classes))]
        if unnamed and len(images.classes) == len(classes):
            return replace(images, classes=classes)
        odd = sorted(set(images.classes) - set(classes))
        raise ValueError(
            f"data {data!r} has {len(images.classes)} classes and the classifier {len(classes)}; it does not know "
            f"{', '.join(map(repr, odd[:3]))}{', ...' if len(odd) > 3 else ''}"
        )
    return with_classes(images, classes, data)
