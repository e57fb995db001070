"""Labels of images, one each or several: which count, and why they do not."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

NAMES = {
    "label", "labels", "labelname", "labelid", "class", "classes", "classname", "classid", "classlabel", "target",
    "targets", "category", "categoryname", "categoryid", "tag", "tags",
}  # fmt: skip
"""What columns of labels are called, in small letters and digits alone."""
Label = str | list[str] | None
"""What a source says that an image shows; None or nothing where it says nothing."""
SPACED = re.compile(r"[\s,]+")
"""What stands between tags, and between the words of a class."""
LISTED = re.compile(r".*\S\s*[|;]\s*\S|\s*\[.*\S\s*,\s*\S.*\]\s*$", re.DOTALL)
"""A text that can only be several labels: a|b, a;b, ['a', 'b']."""

NOTHING = {"nan", "NaN", "NAN", "<NA>", "NaT", "None", "null", "NULL", "N/A", "n/a", "#N/A"}
"""How programs write that there is nothing; an image has no label then."""
BETWEEN = re.compile(r"[|;]")
"""What stands between several labels in one text."""
BRACKETS = re.compile(r"\s*\[(.*)\]\s*$", re.DOTALL)
"""A text that is a list as Python and JSON write it."""
WHOLE = re.compile(r"(-?\d+)(?:\.0*)?$")
"""A whole number, also as tables write one of a column with gaps: 3.0."""


@dataclass(frozen=True)
class Said:
    """What a source says of each image, however many labels that is.

    what: has the labels, such as rows. declared: the source says which classes there are, so that no text is looked at
    for labels in it. remark: what of the source is taken for labels, where that is not plain.
    """

    labels: Sequence[Label]
    what: str
    declared: bool = False
    remark: str = ""


def plain(column: str) -> str:
    """The name of a column in small letters and digits alone: `File Name` and file_name are the same."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


def one_each(
    labels: Sequence[Label], name: Callable[[int], str], what: str, declared: bool = False
) -> tuple[list[str] | None, str]:
    """The labels, where every image has one; else None, and why they do not count, in words with a remedy.

    name: of an image, by its place. what: what has the labels, such as rows. declared: the source says which classes
    there are, so that no text is looked at for tags or for `NOTHING`. Where no image has a label, there is no more to
    say.
    """
    counts = Counter(labels_in(label, declared) for label in labels)
    several = {label for label in counts if len(label) > 1} | (set() if declared else tagged(counts))
    if counts[()] == len(labels):
        return None, ""
    for odd, fault, remedy in (
        (
            {()},
            "no label",
            f"label them, or take these {what} out; finetune --multi-label takes images without",
        ),
        (
            several,
            "several labels",
            "keep one each, _ between words of a class, or fine-tune with --multi-label",
        ),
    ):
        count = sum(counts[label] for label in odd)
        if count:
            first = next(place for place, label in enumerate(labels) if labels_in(label, declared) in odd)
            said = f" ({', '.join(labels_in(labels[first], True))})" if labels[first] else ""
            return None, f"{count} of {len(labels)} {what} have {fault}, the first is {name(first)!r}{said}; {remedy}"
    names = [labels_in(label, declared)[0] for label in labels]
    return names if declared else as_whole(names), ""


def labels_in(label: Label, declared: bool) -> tuple[str, ...]:
    """What an image is said to show, each once."""
    if isinstance(label, list):
        return tuple(dict.fromkeys(label))
    return (label,) if label and (declared or label not in NOTHING) else ()


def as_whole(names: list[str]) -> list[str]:
    """The classes without .0, where all of them are whole numbers: 3.0 and 3 are one class."""
    found = {name: WHOLE.match(name) for name in set(names)}
    return [match[1] if (match := found[name]) else name for name in names] if all(found.values()) else names


def tagged(labels: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Those that are several tags in one text.

    What spaces or commas part are tags, and no classes of several words, where the texts have different numbers of
    them, there are no more words than texts, and all words of some text stand in others too: cat, dog, `cat dog`.
    """
    words = {label: SPACED.split(label[0].strip()) for label in labels if len(label) == 1}
    texts = Counter(word for parts in words.values() for word in set(parts))
    combined = any(len(parts) > 1 and all(texts[word] > 1 for word in parts) for parts in words.values())
    lengths = {len(parts) for parts in words.values()}
    loose = combined and len(lengths) > 1 and len(texts) <= len(words)
    return {label for label, parts in words.items() if (loose and len(parts) > 1) or LISTED.match(label[0])}


def several_each(said: Said, name: Callable[[int], str]) -> list[tuple[str, ...]]:
    """The labels of every image, any number of them, each once. name: of an image, by its place.

    In one text | or ; stands between them, or it is a list in brackets; an empty one is none. Raises ValueError, with
    the remedy, where spaces or commas seem to part them, and for rows of 0 and 1 that do not say what they stand for.
    """
    lists = [listed(label, said.declared) for label in said.labels]
    if not said.declared and marks_of_classes(lists):
        raise ValueError(
            f"its {said.what} have lists of 0 and 1, the first is {name(0)!r}; give the names of the classes that are "
            "1 instead"
        )
    parts = [tuple(dict.fromkeys(label)) for label in lists]
    loose = set() if said.declared else tagged(set(parts))
    odd = next((place for place, some in enumerate(parts) if some in loose), None)
    if odd is not None:
        text = f"{parts[odd][0]!r} of {name(odd)!r} looks like several labels"
        raise ValueError(f"{text}; write | between them, and _ between the words of a class")
    words = iter(as_whole([word for some in parts for word in some]))
    return [tuple(next(words) for _ in some) for some in parts]


def listed(label: Label, declared: bool) -> list[str]:
    """The labels in what a source says of an image, as often as they stand there."""
    if isinstance(label, str) and not declared:
        inside = BRACKETS.match(label)
        texts = [text.strip().strip("'\"") for text in inside[1].split(",")] if inside else BETWEEN.split(label)
        label = [text.strip() for text in texts if text.strip() not in NOTHING]
    return [word for word in ([label] if isinstance(label, str) else label or []) if word]


def may_be_several(text: str) -> bool:
    """Whether a text is written as several labels, though it may hold one alone: `cat;` and ['cat']."""
    return BETWEEN.search(text) is not None or BRACKETS.match(text) is not None


def marks_of_classes(lists: Sequence[list[str]]) -> bool:
    """Whether these are lists of 0 and 1, all of one length, rather than of names."""
    if len({len(label) for label in lists}) != 1 or len(lists[0]) < 2:
        return False
    return all(word in {"0", "1"} for label in lists for word in label)
