"""Which shards are meant: by a pattern of paths, and by how the names of a split begin."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pcae.data.tables.listing import FOLDERS
from pcae.settings.choices import Split

Belongs = Callable[[str, str], bool]
"""Whether a path is of a split's word."""
SHARD = re.compile(r".\.(tar(\.(gz|bz2|xz|zst|lz4))?|tgz|tbz2?|txz)$", re.IGNORECASE)
"""How shards are named, compressed ones among them, which are refused by name."""
BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
"""{000..099} or {one,two} in a pattern."""


def matching(pattern: str) -> list[str]:
    """The shards that a pattern names, in order. Raises ValueError for the first that is not there."""
    paths = []
    for path in braces(pattern):
        if not Path(path).is_file():
            raise ValueError(f"shard {path!r} is no file; check the path")
        paths.append(path)
    return paths


def braces(pattern: str) -> Iterator[str]:
    """All that a pattern with {000..099} and {one,two} stands for, in order."""
    found = BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, words = found.groups()
    choices = words.split(",") if words else numbers(first, last)
    for choice in choices:
        for rest in braces(pattern[found.end() :]):
            yield pattern[: found.start()] + choice + rest


def numbers(first: str, last: str) -> Iterator[str]:
    """The numbers from the first to the last, up or down, as wide as the first."""
    step = 1 if int(first) <= int(last) else -1
    return (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + step, step))


def of_split(paths: Sequence[str], split: Split, belongs: Belongs | None = None) -> list[str]:
    """The shards of a split by how their names begin: its own, else what is beside the other one's, else all.

    Where no name begins so, a word within counts where both splits have some: imagenet1k-train-0000.tar.
    belongs: whether a path is of a split's word, where that is not for its name to say.
    """
    belongs = belongs or (begins if any_of(paths, "train", begins) or any_of(paths, "test", begins) else within(paths))
    own = {part: [[path for path in paths if belongs(path, word)] for word in FOLDERS[part]] for part in FOLDERS}
    train, test = (next((shards for shards in own[part] if shards), []) for part in FOLDERS)
    if split == "train":
        held_out = set(test)
        return train or [path for path in paths if path not in held_out] or list(paths)
    return test or train or list(paths)


def any_of(paths: Sequence[str], split: Split, belongs: Belongs) -> bool:
    """Whether any path is of a split."""
    return any(belongs(path, word) for path in paths for word in FOLDERS[split])


def within(paths: Sequence[str]) -> Belongs:
    """Whether a file's name has a whole word in it, where both splits have such names."""

    def has(path: str, word: str) -> bool:
        return re.search(rf"(?<![a-z]){word}(?![a-z])", Path(path).name, re.IGNORECASE) is not None

    return has if any_of(paths, "train", has) and any_of(paths, "test", has) else begins


def begins(path: str, word: str) -> bool:
    """Whether a file's name begins with a whole word."""
    return re.match(rf"{word}(?![a-z])", Path(path).name, re.IGNORECASE) is not None
