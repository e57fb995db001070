"""The images below an address of a store: its listing, with splits and classes as a folder on a disk has them."""

import os
from collections import Counter

from pcae.data.shards.remote import check_address, filesystem, scheme_of, tried
from pcae.data.tables.listing import FOLDERS, Listing, by_first_folder, is_image, kind_of, split_word
from pcae.data.tables.lists import items_of
from pcae.settings.choices import Split


def is_bucket(data: str) -> bool:
    """Whether an address is that of a folder: it ends in a slash."""
    return data.endswith("/")


def list_bucket(data: str, split: Split) -> Listing:
    """The images of a split below an address, each read when it is asked for. Raises ValueError where it cannot be
    listed."""
    check_address(data)
    if scheme_of(data) in {"http", "https"}:
        raise ValueError(
            f"data {data!r} cannot be listed: web servers have no listing; give a table of addresses (.csv)"
        )
    start = f"{scheme_of(data)}://"
    found = tried(data, lambda: filesystem(scheme_of(data), os.getpid()).find(data))
    every = sorted(f"{start}{name.removeprefix(start).lstrip('/')}" for name in found)
    inside = of_split([name.removeprefix(data) for name in every if is_image(name)], split)
    others = Counter(kind_of(os.path.splitext(name)[1].lower()) for name in every if not is_image(name))  # noqa: PTH122
    root, names = data + common_folder(inside), [f"{data}{name}" for name in inside]
    labels, unlabelled = by_first_folder(names, root)
    return Listing(items_of(names), names, labels, root, others, unlabelled=unlabelled)


def of_split(names: list[str], split: Split) -> list[str]:
    """The names of a split by their first folder: its own, else what is beside the other one's, else all."""
    first = [split_word(name.partition("/")[0]) if "/" in name else "" for name in names]
    train, test = (next((word for word in FOLDERS[part] if word in first), None) for part in FOLDERS)
    wanted = (train if split == "train" else test or train) or None
    if wanted:
        return [name for name, word in zip(names, first, strict=True) if word == wanted]
    return [name for name, word in zip(names, first, strict=True) if split == "test" or word != test]


def common_folder(names: list[str]) -> str:
    """The folder of a split that all names begin with, where there is one."""
    first = {name.partition("/")[0] for name in names}
    word = next(iter(first)) if len(first) == 1 else ""
    return f"{word}/" if split_word(word) in {*FOLDERS["train"], *FOLDERS["test"]} else ""
