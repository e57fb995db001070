"""Training and held-out images, labelled with the same classes."""

from collections.abc import Sequence
from dataclasses import replace

from pcae.data.files.eight_bits import Bands, PixelRange
from pcae.data.images import Images, open_images, with_held_out
from pcae.data.several import places_of
from pcae.data.tables.several_labels import with_label_sets
from pcae.settings.given import Given
from pcae.settings.sources import Data, each, has_splits, quoted

REMEDY = "use a folder with train/CLASS/... and val/CLASS/..., --validation OTHER or --val-fraction 0.2"

FROM_PYTHON = "give validation=ANOTHER, val_fraction=0.2, or {'train': ..., 'validation': ...} for data"


def open_labelled(
    data: Data,
    channels: int | None = None,
    pixel_range: PixelRange | None = None,
    validation: Data | None = None,
    bands: Bands | None = None,
    multi_label: bool = False,
) -> tuple[Images, Images]:
    """Training and held-out images; the labels of both count through the training images' classes. multi_label: each
    may show any number of them.

    The held-out images are those of `validation`, else the test split of `data`; of several sources, of those that have
    one. They may lack classes, and may have
    none of their own. Raises ValueError with the remedy.
    """
    if not validation and not has_splits(data):
        raise ValueError(f"data {quoted(data)} has no held-out images; {FROM_PYTHON}")
    train = open_images(data, "train", channels, pixel_range, bands=bands, labels=True)
    other = validation or with_held_out(data)
    held_out = open_images(other, "test", train.channels, train.pixel_range, bands=train.bands, labels=True)
    for name, images in ((data, train), (other, held_out)):
        if images.stream is not None:
            raise ValueError(
                f"data {quoted(name)} is a stream, which has no labels; give the folder of its shards instead"
            )
        if not multi_label:
            check_labels(images, name)
    apart = isinstance(other, Given) and other.value is not getattr(data, "value", None)
    if list(train.names) == list(held_out.names) and not apart:
        raise ValueError(f"data {quoted(other)} has no held-out images; {REMEDY}")
    if not validation or isinstance(validation, tuple):
        check_apart(train, held_out, data if not validation else (*each(data), *validation))
    if multi_label:
        train = with_label_sets(train, data)
        return train, with_label_sets(held_out, other, train.classes)
    check_two(train, data)
    return train, with_classes(held_out, train.classes, other)


def check_two(images: Images, data: Data) -> None:
    """Raise ValueError for images of one class."""
    if len(images.classes) < 2:
        raise ValueError(
            f"data {quoted(data)} has one class only, {images.classes[0]!r}; two or more can be told apart"
        )


def check_apart(train: Images, held_out: Images, data: Data) -> None:
    """Raise ValueError for an image that one of several sources has for training and another one has held out."""
    if isinstance(data, str):
        return
    training = set(places_of(train.names))
    held = zip(held_out.names, places_of(held_out.names), strict=True)
    both = next((name for name, place in held if place in training), None)
    if both:
        raise ValueError(f"data {quoted(data)} have {both!r} in training and held out; take one source out")


def check_labels(images: Images, data: Data, remedy: str = REMEDY) -> None:
    """Raise ValueError, with the reason, for images without labels."""
    if images.labels is None:
        reason = f"counts no labels: {images.unlabelled}" if images.unlabelled else f"has no labels; {remedy}"
        raise ValueError(f"data {quoted(data)} {reason}")


def with_classes(images: Images, classes: Sequence[str], data: Data) -> Images:
    """Labelled images with their labels by the place of the class in `classes`, by name.

    Raises ValueError naming classes that do not stand there.
    """
    odd = sorted(set(images.classes) - set(classes))
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ValueError(
            f"data {quoted(data)} has held-out images of classes that no training image has: "
            f"{', '.join(map(repr, odd[:3]))}{more}; name the folders alike"
        )
    places = {name: place for place, name in enumerate(classes)}
    labels = [places[images.classes[label]] for label in images.labels or []]
    return replace(images, labels=labels, classes=classes)


def for_classifier(images: Images, classes: Sequence[str], data: Data) -> Images:
    """Labelled images with their labels by the place of the class among a classifier's, by name.

    A classifier whose classes have no names ("0", "1", ...) takes as many classes in the order of their names.
    Raises ValueError naming what does not fit.
    """
    check_labels(images, data, "use folders DATA/CLASS/... or a .csv of path,label")
    if not set(images.classes) <= set(classes):
        unnamed = list(classes) == [str(place) for place in range(len(classes))]
        if unnamed and len(images.classes) == len(classes):
            return replace(images, classes=classes)
        odd = sorted(set(images.classes) - set(classes))
        raise ValueError(
            f"data {quoted(data)} has {len(images.classes)} classes and the classifier {len(classes)}; it does not "
            f"know {', '.join(map(repr, odd[:3]))}{', ...' if len(odd) > 3 else ''}"
        )
    return with_classes(images, classes, data)
