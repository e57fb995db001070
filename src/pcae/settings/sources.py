"""DATA: one source of images, or several, one after the other; of callers from Python, objects too."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

from pcae.settings.given import Given, repr_of

Data = str | tuple[str, ...]
"""A folder, a list, shards, hf:NAME, ...; or several of them. An object in the place of one is a `Given`."""
NAMED = {"data", "validation", "knn_data", "unlabelled"}
"""Settings that are DATA."""
ONLY_PYTHON = {"transform"}
"""Settings that are objects: the command line has no flag for them, and config.yaml has their words."""


@runtime_checkable
class Indexed(Protocol):
    """What has a length and items by number: a map-style Dataset, a list, an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@runtime_checkable
class AsArray(Protocol):
    """What NumPy takes for an array: its own, and torch's tensors."""

    def __array__(self) -> Any: ...


def each(data: Data) -> tuple[str, ...]:
    """The sources one by one."""
    return (data,) if isinstance(data, str) else data


def as_data(given: Any) -> Data:
    """DATA as callers from Python give it: paths, objects that hold images, and lists of either.

    A list of paths or of data sets is several sources; one of images is a source by itself. Raises ValueError, with the
    remedy, for an empty list and for what has no length or no items by number.
    """
    if isinstance(given, Given) or not isinstance(given, list | tuple):
        return one_source(given)
    sources = [is_source(one) for one in given]
    if not sources:
        raise ValueError("data names no source; give at least one folder, list, ...")
    if not any(sources):
        return named(given)
    if not all(sources):
        odd = type(given[sources.index(False)]).__name__
        raise ValueError(
            f"data is a list of paths or data sets, but holds {odd} too; give images in a list of their own"
        )
    several = told_apart([one_source(one) for one in given])
    return several[0] if len(several) == 1 else several


def is_source(one: Any) -> bool:
    """Whether an element of a list is a source of its own, and no image or labelled image."""
    if isinstance(one, str | PathLike):
        return True
    return isinstance(one, Indexed) and not isinstance(one, bytes | list | tuple | Mapping | AsArray)


def one_source(given: Any) -> str:
    """One source: a path, or an object that holds images. Raises ValueError for any other object."""
    if isinstance(given, str | PathLike):
        return given if isinstance(given, Given) else str(given)
    if not isinstance(given, Indexed) or isinstance(given, bytes):
        raise ValueError(
            "data must be a path, hf:NAME, a map-style Dataset (with a length and items by number), a list or an "
            f"array, got {type(given).__name__}; give [image] for one image, and a list or shards of what can only be "
            "gone through"
        )
    if isinstance(given, Mapping) and not given:
        raise ValueError("data has no splits; give at least {'train': ...}")
    return named(given)


def named(value: Any) -> Given:
    """An object that holds images, with its kind and its length, or those of its splits, for its name."""
    if not isinstance(value, Mapping):
        return Given(value, f"{type(value).__name__}({len(value)})")
    return Given(value, f"{type(value).__name__}({', '.join(map(str, value))})")


def told_apart(sources: Sequence[str]) -> tuple[str, ...]:
    """Sources of which no two objects have the same name: of those that would, the second is called NAME #2.

    Raises ValueError for an object that stands there twice.
    """
    objects = [id(source.value) for source in sources if isinstance(source, Given)]
    if len(set(objects)) < len(objects):
        raise ValueError("data has the same object twice; take one out, so that its images are seen once")
    named: list[str] = []
    for source in sources:
        alike = sum(one.partition(" #")[0] == source for one in named) if isinstance(source, Given) else 0
        named.append(Given(source.value, f"{source} #{alike + 1}") if isinstance(source, Given) and alike else source)
    return tuple(named)


def given(name: str, value: Any) -> Any:
    """The value of a setting as callers from Python give it: an object carried by its words (`Given`), where it is one.

    Raises ValueError for an object that cannot be DATA, or no callable.
    """
    if name in NAMED and not is_plain(value):
        return as_data(value)
    if name in ONLY_PYTHON and not isinstance(value, str | None):
        if not callable(value):
            raise ValueError(f"{name} must be a callable on an image, got {type(value).__name__}")
        return Given(value, repr_of(value))
    return value


def is_plain(value: Any) -> bool:
    """Whether a value is a word or path, or a list of them, as files have it too."""
    values = value if isinstance(value, list | tuple) else (value,)
    return all(isinstance(one, str | PathLike | int | float | None) for one in values)


def given_in(data: Data) -> bool:
    """Whether DATA is, or has, an object."""
    return any(isinstance(source, Given) for source in each(data))


def has_splits(data: Data) -> bool:
    """Whether DATA may have held-out images of its own: all may but a single object that is no dict."""
    return not isinstance(data, Given) or isinstance(data.value, Mapping)


def as_weights(given: Any) -> str:
    """Weights as callers from Python give them: a path or a name, or a model, which goes along."""
    if isinstance(given, Given):
        return given
    return str(given) if isinstance(given, str | PathLike) else Given(given, f"<{type(given).__name__}>")


def quoted(data: Data) -> str:
    """DATA as messages name it."""
    return " ".join(map(repr, each(data)))


def in_words(data: Data) -> str:
    """DATA as titles name it."""
    return " ".join(each(data))
