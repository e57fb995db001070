"""From the facts of single images to what all of them are together, and what is wrong with them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch

from pcae.data.duplicates import Alike, blank_images, comparable, exact_duplicates, near_by_features, near_duplicates
from pcae.data.files.eight_bits import MODES
from pcae.data.images import Images
from pcae.data.survey import Facts
from pcae.evaluation.features import embed_both_ways
from pcae.model.pretrained import Pretrained
from pcae.settings.reading import DataConfig
from pcae.terminal import bar

NEAR_ON_CPU = 200_000
"""Images up to which a CPU looks for near duplicates; the work grows with the square of their number."""
LIMIT = DataConfig().max_bad_files
"""Share of unreadable images from which on a run stops."""
CAMERAS = (1_023, 4_095, 16_383)
"""Largest values of 10, 12 and 14 bits, which are stored in 16."""
OPACITIES = 16
"""Values of an opacity that is no mask and has no mere soft edges, at least."""
FAULTS = {
    "unreadable": ("images that cannot be read", "a run puts others in their place"),
    "exact_duplicates": ("files with the same bytes", "keep one of each group"),
    "near_duplicates": (
        "images that look the same",
        "the same picture in another size, format or compression? keep one of each group",
    ),
    "leaks": (
        "images in training that stand in validation too",
        "take them out of one of the two, or accuracy is flattered",
    ),
    "label_conflicts": ("images that have several labels", "decide on one"),
    "blank": ("images of one colour", "there is nothing to learn from them"),
    "missing_pixels": (
        "images with pixels that are no numbers, or that the file calls no data",
        "these pixels become black, and count in no mean and standard deviation",
    ),
}
"""What may be wrong with images, and what to do about it."""
IMBALANCE = 10
"""How many times the smallest class the largest may be before it is remarked on."""


@dataclass(frozen=True)
class Everything:
    """The images of all splits in a row: their facts, splits, names and labels, by place."""

    splits: Mapping[str, Images]
    facts: list[Facts]
    split: list[str]
    names: list[str]
    labels: list[str | None]

    @property
    def read(self) -> list[Facts]:
        """The facts of those that could be read."""
        return [one for one in self.facts if one.error is None]

    def locate(self, place: int) -> tuple[Images, int]:
        """The split of an image and its index there."""
        return self.splits[self.split[place]], place - self.split.index(self.split[place])


@dataclass(frozen=True)
class Fault:
    """Images with which something is wrong, in groups of places; what it is, what to do, and why, by place."""

    name: str
    what: str
    remedy: str
    groups: list[list[int]]
    reasons: dict[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many images."""
        return sum(map(len, self.groups))


def gather(splits: Mapping[str, Images], facts: Mapping[str, Sequence[Facts]]) -> Everything:
    """All splits in a row."""
    flat, split, names, labels = [], [], [], []
    for name, images in splits.items():
        flat += facts[name]
        split += [name] * len(images)
        names += images.names
        labels += [images.classes[label] for label in images.labels] if images.labels else [None] * len(images)
    return Everything(splits, flat, split, names, labels)


def find_faults(images: Everything, near: Sequence[Alike], by: str | None = None) -> list[Fault]:
    """Everything that is wrong with single images, pairs and groups of them.

    near: near duplicates. by: whose features proposed them, where not all small gray copies were compared.
    """
    bad = {place: one.error for place, one in enumerate(images.facts) if one.error is not None}
    missing = {place: f"{one.missing:.1%} of its pixels" for place, one in enumerate(images.facts) if one.missing}
    exact = exact_duplicates(images.facts)
    same = together(exact, near)
    groups = {
        "unreadable": [[place] for place in bad],
        "exact_duplicates": exact,
        "near_duplicates": [group.members for group in near],
        "leaks": [group for group in same if len({images.split[place] for place in group}) > 1],
        "label_conflicts": [group for group in same if len({images.labels[place] for place in group} - {None}) > 1],
        "blank": [[place] for place in blank_images(images.facts)],
        "missing_pixels": [[place] for place in missing],
    }
    reasons = {
        "unreadable": bad,
        "missing_pixels": missing,
        "near_duplicates": {group.members[0]: f"correlation {group.similarity:.3f} or more" for group in near},
        "label_conflicts": {
            place: f"label {images.labels[place]!r}" for group in same for place in group if images.labels[place]
        },
    }
    said = FAULTS | ({} if by is None else {"near_duplicates": said_of_features(by)})
    return [Fault(name, *said[name], found, reasons.get(name, {})) for name, found in groups.items() if found]


def said_of_features(by: str) -> tuple[str, str]:
    """What near duplicates among images that the features of a model propose are, and what to do about them."""
    return (
        f"images that show the same, mirrored or in part, among those that look alike to {by}",
        "look at them, and keep one of each group",
    )


def find_near(
    images: Everything, model: Pretrained | None, alike: float, device: torch.device, workers: int = 0
) -> list[Alike]:
    """Near duplicates, by the features of a model, else by small gray copies; none where there are too many images."""
    if not near_searched(images, device):
        return []
    if model is None:
        return near_duplicates(images.facts, alike, device)
    known, places, found = comparable(images.facts), list[int](), []
    for name, split in images.splits.items():
        start = images.split.index(name) if name in images.split else 0
        own = [place - start for place in known if images.split[place] == name]
        indices, *looks = embed_both_ways(model, split, own, workers, bar(f"embedding {name}"))
        places += [start + index for index in indices]
        found.append(looks)
    features, small = map(torch.cat, zip(*found, strict=True))
    return near_by_features(features, small, places, alike, device)


def near_searched(images: Everything, device: torch.device) -> bool:
    """Whether near duplicates are looked for."""
    return device.type != "cpu" or len(images.facts) <= NEAR_ON_CPU


def together(exact: Sequence[list[int]], near: Sequence[Alike]) -> list[list[int]]:
    """Groups of images that are the same, by bytes or by looks: near duplicates with their exact copies."""
    copies = {group[0]: group for group in exact}
    joined = [[copy for member in group.members for copy in copies.pop(member, [member])] for group in near]
    return joined + list(copies.values())


def remark(images: Everything, device: torch.device) -> list[str]:
    """What a person should know beside the faults."""
    lines = []
    for name, split in images.splits.items():
        lines += [f"{name}: files left out, not being images: {split.left_out()}"] if split.others else []
        lines += [f"{name}: {split.unlabelled}"] if split.unlabelled else []
        bad = sum(one.error is not None for one, where in zip(images.facts, images.split, strict=True) if where == name)
        if bad > LIMIT * len(split):
            lines.append(f"{name}: {bad / len(split):.0%} cannot be read; a run would stop, see --max-bad-files")
        lines += remark_labels(name, split)
    known = [set(split.classes) for split in images.splits.values() if split.labels is not None]
    if len(known) == 2 and known[0] != known[1]:
        lines.append(f"classes in one split only: {', '.join(map(repr, sorted(known[0] ^ known[1])))}")
    if not near_searched(images, device):
        lines.append(f"near duplicates were not looked for: above {NEAR_ON_CPU:,} images that needs a GPU (--device)")
    lines += remark_opacity(images)
    scaled = any(split.pixel_range for split in images.splits.values())
    return lines + (remark_range(images.read) if scaled else remark_values(images.read))


def remark_labels(name: str, split: Images) -> list[str]:
    """Whether the classes of a split differ much in size."""
    if not split.labels:
        return []
    counts = list(class_counts(split).items())
    (most, large), (least, small) = counts[0], counts[-1]
    if large <= IMBALANCE * small:
        return []
    return [f"{name}: class {most!r} has {large} images, {least!r} only {small}"]


def remark_opacity(images: Everything) -> list[str]:
    """Whether maps have an opacity of so many values that it may be another band, such as infrared."""
    odd = [place for place, one in enumerate(images.facts) if one.error is None and one.opacities > OPACITIES]
    if not odd or any(split.channels not in MODES or split.bands for split in images.splits.values()):
        return []
    split, index = images.locate(odd[0])
    return [
        f"{len(odd)} images say that their last band is opacity, and it has many values (the first is "
        f"{split.short(index)!r}): they are laid over white; if it is another band, such as infrared, --channels 4 "
        "takes all four as bands, --bands 1 2 3 the colours alone"
    ]


def remark_range(read: Sequence[Facts]) -> list[str]:
    """Whether --pixel-range is given for images that it has no say in."""
    small = sum(one.values is None for one in read)
    return [f"--pixel-range has no say in {small} of {len(read)} images, which have 8 bits or less"] if small else []


def remark_values(read: Sequence[Facts]) -> list[str]:
    """Whether 16-bit pixels use a part of their range only, so that a run would see them nearly black."""
    deep = [one.values for one in read if one.values and one.kind.startswith("uint16") and not one.declared]
    largest = max((high for _, high in deep), default=np.inf)
    reach = next((top for top in CAMERAS if largest <= top), None)
    if reach is None:
        return []
    return [f"{len(deep)} images of 16 bits reach only to {largest:g}: train with --pixel-range 0 {reach}"]


def counted(values: Iterable[str]) -> dict[str, int]:
    """How often each value is there, the most frequent first."""
    return dict(Counter(values).most_common())


def class_counts(split: Images) -> dict[str, int]:
    """How many images each class of a split has."""
    return counted(split.classes[label] for label in split.labels or ())


def sides(read: Sequence[Facts]) -> dict[str, dict[str, int]]:
    """Least, median and largest width and height in pixels."""
    sizes = [one.size for one in read if min(one.size)] or [(0, 0)]
    return {
        name: {"least": min(side), "median": int(median(side)), "most": max(side)}
        for name, side in zip(("width", "height"), zip(*sizes, strict=True), strict=True)
    }


def statistics(read: Sequence[Facts]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the pixels in [0, 1] by channel; every image weighs the same."""
    known = [one for one in read if one.mean]
    if not known:
        return [], []
    mean = np.mean([one.mean for one in known], axis=0)
    square = np.mean([one.square for one in known], axis=0)
    return mean.tolist(), np.sqrt((square - mean**2).clip(0)).tolist()


def describe(images: Everything) -> dict[str, Any]:
    """What is there, in numbers."""
    read = images.read
    mean, std = statistics(read)
    return {
        "images": {name: len(split) for name, split in images.splits.items()},
        "megabytes": sum(one.bytes for one in images.facts) / 1e6,
        "formats": counted(one.format for one in images.facts),
        "pixels": counted(one.kind for one in read),
        "sides": sides(read),
        "mean": mean,
        "std": std,
        "labels": {name: class_counts(split) for name, split in images.splits.items() if split.labels is not None},
    }
