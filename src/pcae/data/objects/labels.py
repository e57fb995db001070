"""The labels of a Dataset: from its targets and classes, those of what it is a part of, or from all of its items."""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from pcae.data.objects.items import Items, has_label, label_in, said
from pcae.data.shards.columns import UNKNOWN
from pcae.data.shards.columns import said as word_of
from pcae.data.tables.labels import Label, Said, one_each
from pcae.terminal import bar, console, is_main_process

TARGETS = ("targets", "labels")
"""What Datasets call the labels of all their items."""
KINDS = "give a whole number or a word each, or for --multi-label a list of these or 0 and 1 for every class"
"""What a label may be."""
BOTH = "all are [0, 1] or [1, 0], which may be two classes or 0 and 1 for each of two; give names, or True and False"
"""Why labels that can be read in two ways do not count."""


class Labels(NamedTuple):
    """The label of each item, all classes in order where they are said, why labels do not count, the items that could
    not be read, by number, and what is said where an item may have several.
    """

    each: list[str] | None = None
    classes: Sequence[str] | None = None
    fault: str = ""
    failed: Mapping[int, str] | None = None
    said: Said | None = None


def labels_of(items: Items, count: int, first: Any, wanted: bool) -> Labels:
    """The labels of an object. first: its first item, None where that cannot be read.

    Targets count where they have a label for each item, that of the first one among them. Else the labels stand in the
    items: all are read, once, where they are wanted. Raises ValueError for a label beyond the classes.
    """
    check_parts(items.value, items.words)
    classes, targets, own = classes_of(items.value), targets_of(items.value), value_of(label_in(first))
    if targets is not None and own in (None, value_of(targets[0])) and not changed(items.value):
        return judged(targets, classes, items.words)
    if first is not None and not has_label(first):
        return Labels()
    if not wanted:
        return Labels(fault="they stand in its items; open_images(..., labels=True) reads all of them for it")
    found, failed = read_all(items, count)
    return judged(found, classes, items.words, failed)


def check_parts(value: Any, words: str) -> None:
    """Raise ValueError, with the remedy, for a chain of data sets that number other classes alike."""
    parts = value.datasets if isinstance(value, ConcatDataset) else []
    named = [tuple(found) for part in parts if (found := classes_of(part))]
    if len(set(named)) > 1:
        raise ValueError(f"the parts of data {words!r} have other classes; give them in a list, which tells them apart")


def changed(value: Any) -> bool:
    """Whether labels come out of an object's items as others than it has them, by a transform of its own."""
    if isinstance(value, Subset):
        return changed(value.dataset)
    if isinstance(value, ConcatDataset):
        return any(map(changed, value.datasets))
    alone, both = (getattr(value, name, None) is not None for name in ("target_transform", "transforms"))
    return alone or (both and getattr(value, "transform", None) is None)


def targets_of(value: Any) -> Sequence[Any] | None:
    """What an object says of the labels of all its items, if it does; of parts and chains of others, what these say."""
    if isinstance(value, Subset):
        targets = targets_of(value.dataset)
        return targets and [targets[index] for index in value.indices]
    if isinstance(value, ConcatDataset):
        parts = [targets_of(part) for part in value.datasets]
        alike = len({tuple(classes_of(part) or ()) for part in value.datasets}) == 1
        return [one for part in parts for one in part or ()] if alike and all(parts) else None
    if isinstance(value, TensorDataset):
        return value.tensors[1].tolist() if len(value.tensors) > 1 else None
    found = next((found for name in TARGETS if (found := getattr(value, name, None)) is not None), None)
    found = found.tolist() if isinstance(found, Tensor | np.ndarray) else found
    return found if isinstance(found, list | tuple) and len(found) == len(value) and found else None


def classes_of(value: Any) -> list[str] | None:
    """The names of an object's classes, in the order of its labels; several names of one with a comma between them.

    A name that two classes have, as ImageNet's crane, gets the number of its class.
    """
    if isinstance(value, Subset):
        return classes_of(value.dataset)
    if isinstance(value, ConcatDataset):
        return classes_of(value.datasets[0])
    found = getattr(value, "classes", None)
    if not isinstance(found, list | tuple) or not all(isinstance(name, str | tuple) for name in found):
        return None
    names = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in found]
    return [f"{name} ({place})" if names.count(name) > 1 else name for place, name in enumerate(names)]


def read_all(items: Items, count: int) -> tuple[list[Any], dict[int, str]]:
    """The labels in all items, and the reasons of those that cannot be read; None is their label."""
    if is_main_process():
        console.print(f"labels: read from all {count} items of {items.words}, once; its .targets would spare that")
    labels: list[Any] = []
    failed: dict[int, str] = {}
    for index in bar("labels")(range(count)):
        try:
            labels.append(label_in(items.item(index)))
        except ValueError as error:
            labels.append(None)
            failed[index] = said(error)
    return labels, failed


def judged(
    targets: Sequence[Any], classes: Sequence[str] | None, words: str, failed: Mapping[int, str] | None = None
) -> Labels:
    """The labels as words, where each item that can be read has one. Raises ValueError for one beyond the classes."""
    values = [value_of(target) for target in targets]
    if is_both(values):
        return Labels(classes=classes, fault=BOTH, failed=failed)
    remark = ""
    if marks := marked(values, classes):
        classes = classes or [str(place) for place in range(marks)]
        remark = f"labels are read as 0 or 1 for each of {marks} classes"
        values = [value and [place for place, mark in enumerate(value) if mark] for value in values]
    if classes:
        check_range(values, len(classes), words)
    named: list[Label] = [word_of(value, classes) for value in values]
    if faults := [row for row, value in enumerate(values) if is_odd(value, named[row])]:
        odd = min(faults, key=lambda row: all_marks(values[row]))  # the first one, or the first among marks
        fault = f"that of item {odd} is {shorten(repr(values[odd]), 60)}; {KINDS}"
        return Labels(classes=classes, fault=fault, failed=failed)
    usual = next((name for name in named if name), None)
    named = [usual if row in (failed or ()) else name for row, name in enumerate(named)]  # they are never read again
    each, fault = one_each(named, "item {}".format, "items", classes is not None)
    return Labels(each, classes, fault, failed, Said(named, "items", classes is not None, remark))


def marked(values: Sequence[Any], classes: Sequence[str] | None) -> int:
    """How many classes have a mark, 0 or 1, in the label of every item; 0 where labels are something else."""
    lists = [value for value in values if value is not None]
    if not lists or not all(map(all_marks, lists)):
        return 0
    lengths = {len(value) for value in lists}
    wanted = len(classes) if classes else max(lengths)
    return wanted if lengths == {wanted} and wanted > 1 else 0


def is_both(values: Sequence[Any]) -> bool:
    """Whether all labels are [0, 1] or [1, 0]: two classes, or marks of two."""
    lists = [value for value in values if value is not None]
    return bool(lists) and all(type(value) is list and sorted(map(repr, value)) == ["0", "1"] for value in lists)


def all_marks(value: Any) -> bool:
    """Whether this is a list of 0 and 1."""
    return isinstance(value, list) and all(isinstance(one, int | float) and one in {0, 1} for one in value)


def is_odd(value: Any, name: Label) -> bool:
    """Whether a label is none that counts: of another kind, or a list that has a class twice, or -1 for one."""
    if name is None or not isinstance(value, list):
        return name is None and value is not None
    return len(set(value)) < len(value) or any(one in UNKNOWN for one in value)


def check_range(values: Sequence[Any], classes: int, words: str) -> None:
    """Raise ValueError for a number beyond the classes; -1 says that there is none."""
    for index, value in enumerate(values):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int) and one not in UNKNOWN and not 0 <= one < classes:
                raise ValueError(
                    f"data {words!r} has the label {one} at item {index}, and its classes are 0 to {classes - 1}; mend "
                    "its labels or its .classes"
                )


def value_of(label: Any) -> Any:
    """A label as Python has it: numbers of NumPy and of torch as its own, True as 1."""
    if isinstance(label, Tensor | np.ndarray | np.generic):
        label = label.tolist()
    if isinstance(label, list | tuple):
        return [value_of(one) if isinstance(one, Tensor | np.generic) else one for one in label]
    return int(label) if isinstance(label, bool) else str(label) if isinstance(label, str) else label
