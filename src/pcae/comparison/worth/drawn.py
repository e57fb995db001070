"""The images by seed: for training, held out, and those that are pre-trained on; none of the held-out ones is."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcae.comparison.rows import digest_of, fingerprint
from pcae.data.images import Images, open_images, with_held_out
from pcae.data.tables.labelled import check_labels, check_two, open_labelled
from pcae.data.tables.split_off import held_out_rows
from pcae.settings.given import Given
from pcae.settings.sources import Data, each, has_splits, quoted
from pcae.settings.verbs.compare import WorthConfig

HELD_OUT = 1 / 3
"""Share of the images of each class that is held out, where DATA holds none out itself."""
MOST_HELD_OUT = 2000
"""Of DATA's own held-out images, so many at most are looked at."""
FEWEST = 5
"""Held-out images that are needed, and below which a class is named as too small."""
SHOWN = 5
"""Classes that are named."""

REMEDY = "give DATA/CLASS/... folders, a .csv of path,label or a labelled data set"


@dataclass(frozen=True)
class Drawn:
    """The images of a seed. train: labelled, to learn from. rest: those for training whose labels do not count.

    held_out: the test. ids: a number of each held-out image, which it has in every seed. files: a short name of all.
    """

    seed: int
    train: Images
    rest: Images | None
    held_out: Images
    ids: Sequence[int]
    files: str

    def labelled(self) -> Given:
        """DATA for verbs that take labels."""
        return Given({"train": self.train, "test": self.held_out}, f"images of seed {self.seed}")

    def unlabelled(self, more: Data | None) -> Data:
        """DATA to pre-train on. more: images beside."""
        train: str = Given(self.train, f"images of seed {self.seed}")
        rest = [] if self.rest is None else [Given(self.rest, f"more images of seed {self.seed}")]
        beside = [] if more is None else each(more)
        return (train, *rest, *beside) if rest or beside else train

    def without(self, names: Collection[str]) -> "Drawn":
        """The same without some images."""
        if not names:
            return self
        ids = [number for number, name in zip(self.ids, self.held_out.names, strict=True) if name not in names]
        train, held_out = without(self.train, names), without(self.held_out, names)
        rest = None if self.rest is None else without(self.rest, names)
        return replace(self, train=train, held_out=held_out, rest=rest, ids=ids)


def draw(config: WorthConfig) -> tuple[list[Drawn], bool]:
    """The images of every seed, and whether DATA holds some out itself. Raises ValueError, with the remedy."""
    data, own = config.data, holds_out(config.data, config.validation)
    if config.unlabelled is not None:
        open_images(config.unlabelled, "train")
    if own:
        train, held_out = open_labelled(data, validation=config.validation)
        held_out = some_of(held_out, MOST_HELD_OUT, seed=0)
        found = [apart(train, held_out, range(len(held_out)), config.most_labels, seed) for seed in config.seeds]
    else:
        whole = open_images(data, "train", labels=True)
        check_labels(whole, data, REMEDY)
        check_two(whole, data)
        found = [split(whole, config.most_labels, seed) for seed in config.seeds]
    check_held_out(found[0], data)
    return found, own


def holds_out(data: Data, validation: Data | None) -> bool:
    """Whether there are held-out images already."""
    if validation is not None:
        return True
    if not has_splits(data):
        return False
    train, test = open_images(data, "train"), open_images(with_held_out(data), "test")
    return list(train.names) != list(test.names)


def split(whole: Images, most: int, seed: int) -> Drawn:
    """A third of each class held out, drawn by seed and names."""
    held = held_out_rows(whole, HELD_OUT, seed)
    return apart(whole.without(held), whole.at(np.array(held, dtype=int)), held, most, seed)


def apart(train: Images, held_out: Images, ids: Sequence[int], most: int, seed: int) -> Drawn:
    """A seed's images, of which so many labels count at most."""
    labelled = some_of(train, most, seed)
    rest = None
    if len(labelled) < len(train):
        names = set(labelled.names)
        rest = bare(train.without([row for row, name in enumerate(train.names) if name in names]))
    files = digest_of([fingerprint(images) for images in (labelled, held_out, rest) if images is not None])
    return Drawn(seed, labelled, rest, held_out, list(ids), files)


def without(images: Images, names: Collection[str]) -> Images:
    """The images but those of these names."""
    return images.without([place for place, name in enumerate(images.names) if name in names])


def bare(images: Images) -> Images:
    """The images without their labels."""
    return replace(images, labels=None, classes=[])


def some_of(images: Images, most: int, seed: int) -> Images:
    """At most so many images, of each class its share and at least one, by seed and names."""
    if len(images) <= most:
        return images
    rows = held_out_rows(images, most / len(images), seed)
    return images.at(np.array(rows, dtype=int))


def check_held_out(drawn: Drawn, data: Data) -> None:
    """Raise ValueError for too few held-out images to say anything at all."""
    count, classes = len(drawn.held_out), len(set(drawn.held_out.labels or ()))
    if count < FEWEST or classes < 2:
        raise ValueError(
            f"data {quoted(data)} has {count} held-out images of {classes} classes, and at least {FEWEST} of two are "
            "needed; label more"
        )


def small_classes(drawn: Drawn) -> list[str]:
    """That some classes have too few held-out images to say anything of them alone, if some have."""
    counts = Counter(drawn.held_out.labels or ())
    few = [name for label, name in enumerate(drawn.held_out.classes) if counts[label] < FEWEST]
    named = ", ".join(map(repr, few[:SHOWN])) + (", ..." if len(few) > SHOWN else "")
    return [f"{len(few)} classes have fewer than {FEWEST} held-out images and hardly count: {named}"] if few else []
