"""A packed folder: images that were decoded and shrunk once, read through a memory map; whether it is whole."""

import hashlib
import json
import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcae.data.files.eight_bits import MODES, Bands, EightBits, PixelRange, from_pillow
from pcae.data.files.stored import as_bands
from pcae.data.lazy import Lazy, row_bytes
from pcae.data.tables.labels import Said, one_each
from pcae.data.tables.listing import Listing
from pcae.settings.choices import Split
from pcae.settings.values import expand

HEADER = "packed.json"
"""What makes a folder a packed one; it is written last."""
UNFINISHED = "packing.json"
"""What a folder has whose packing has begun; it goes when all is packed."""
FORMAT = 1
"""The number of this layout of files."""
BAD_FILES = "bad-files.jsonl"
ROW = np.dtype([("end", "<i8"), ("name_end", "<i8"), ("label", "<i4")])
"""An image in SPLIT.index: where its bytes end in SPLIT.data and its name in SPLIT.names, and its class, or -1."""
SAID = ".labels"
"""How the file of a split ends that has what is said of each image, where that may be several labels, as JSON."""
BLOCK = 2**24
"""Bytes that are read at once where a file is checked."""


class Mapped(np.memmap):
    """An array in a file, read-only; a process that it is sent to maps the file too, and gets no copy."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        if isinstance(self.base, mmap.mmap):
            return map_file, (str(self.filename), self.dtype, self.shape)
        return np.array(self).__reduce__()  # a part of it


def map_file(path: str | Path, dtype: np.dtype | type, shape: tuple[int, ...]) -> np.ndarray:
    """The array that a file holds. Raises ValueError when the file is not there, or smaller than that."""
    try:
        if min(shape) < 0 or prod(shape) * np.dtype(dtype).itemsize > Path(path).stat().st_size:
            raise ValueError(f"packed file {str(path)!r} is no array of {shape}; pack the images anew")
        return Mapped(path, dtype, "r", shape=shape)
    except OSError as error:
        raise ValueError(f"packed file {str(path)!r} cannot be read: {error.strerror}") from error


def name_of(folder: Path, text: np.ndarray, index: np.ndarray, row: int) -> str:
    """The folder, the split and the name of an image in the data that were packed."""
    return f"{folder}/{row_bytes(text, index, 'name_end', row).decode('utf-8', 'surrogateescape')}"


def is_packed(path: Path) -> bool:
    """Whether a folder is a packed one, whole or begun."""
    return any((path / name).is_file() for name in (HEADER, UNFINISHED))


def list_packed(path: Path, split: Split) -> Listing:
    """The images of a split of a packed folder; with one split, it is both, as in any folder.

    Pixels are one array of images x height x width x channels. Raises ValueError when files are missing or cut off, and
    for a header that says what cannot be.
    """
    header = read_header(path)
    with said_by(path / HEADER):
        return listing_of(path, header, split)


@contextmanager
def said_by(header: Path) -> Iterator[None]:
    """Whatever odd facts lead to is a ValueError that names the header."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"packed file {str(header)!r} does not say what the folder holds ({reason}); pack the images anew"
        ) from error


def listing_of(path: Path, header: dict[str, Any], split: Split) -> Listing:
    """The images of a split as the header has them. Raises errors of several kinds when it does not fit the files."""
    check_sizes(path, header)
    name = split if split in header["splits"] else next(iter(header["splits"]))
    facts, settings = header["splits"][name], header["settings"]
    count, sizes = facts["images"], {part: sum(size for size, _ in chunks) for part, chunks in header["files"].items()}
    index = map_file(path / f"{name}.index", ROW, (count,))
    text, data = (map_file(path / part, np.uint8, (sizes[part],)) for part in (f"{name}.names", f"{name}.data"))
    items: Any = Lazy(partial(row_bytes, data, index, "end"), range(count))
    if settings["form"] == "pixels":
        items = map_file(path / f"{name}.data", np.uint8, (count, *settings["image_size"], settings["channels"]))
    classes = facts["classes"]
    labels = [classes[label] for label in index["label"].tolist()] if classes is not None else None
    pixel_range = settings["pixel_range"] and tuple(settings["pixel_range"])
    names, channels = Lazy(partial(name_of, path / name, text, index), range(count)), settings["channels"]
    bands = settings.get("bands") and tuple(settings["bands"])
    listing = Listing(items, names, labels, str(path / name), classes=classes)
    listing = replace(listing, channels=channels, pixel_range=pixel_range, bands=bands)
    return with_said(listing, path / f"{name}{SAID}") if f"{name}{SAID}" in header["files"] else listing


def with_said(listing: Listing, path: Path) -> Listing:
    """Packed images with what is said of each, any number of labels. Raises ValueError for a damaged file."""
    try:
        facts = json.loads(path.read_bytes())
        classes, said = facts.pop("classes") or None, Said(**facts)
        said = said if len(said.labels) == len(listing.names) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        classes, said = None, None
    if said is None:
        raise ValueError(f"packed file {str(path)!r} is damaged; pack the images anew")
    _, fault = one_each(said.labels, lambda row: listing.names[row], said.what, said.declared)
    return replace(listing, classes=listing.classes or classes, unlabelled=fault, said=said)


def read_header(path: Path) -> dict[str, Any]:
    """What a packed folder says of itself. Raises ValueError when it is not finished, damaged or of another version."""
    if not (path / HEADER).is_file():
        raise ValueError(f"packed folder {str(path)!r} is not finished; give the same `pcae pack` again and it goes on")
    try:
        header = json.loads((path / HEADER).read_text(encoding="utf-8"))
        whole = header.pop("checksum") == checksum(header)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole, header = False, {}
    if not whole:
        raise ValueError(f"packed file {str(path / HEADER)!r} is damaged; pack the images anew")
    if header["format"] != FORMAT:
        raise ValueError(f"packed folder {str(path)!r} is of format {header['format']}, not {FORMAT}; pack it anew")
    return header


def sealed(header: dict[str, Any]) -> str:
    """The text of a header file, with its own checksum."""
    return json.dumps(header | {"checksum": checksum(header)}, indent=1)


def checksum(header: dict[str, Any]) -> str:
    """The fingerprint of a header, whatever the order of its keys."""
    return fingerprint([json.dumps(header, sort_keys=True).encode()])


def fingerprint(blocks: Iterable[bytes | memoryview]) -> str:
    """The fingerprint of bytes that come in blocks."""
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def check_sizes(path: Path, header: dict[str, Any]) -> None:
    """Raise ValueError naming a file of a packed folder that is missing or has not the size that it should have.

    Its files lie in it: a name that leads elsewhere is refused.
    """
    for name in (*header["files"], *header["splits"]):
        if Path(name).name != name:
            raise ValueError(f"packed folder {str(path)!r} names {name!r}, which is no file of it; pack it anew")
    for name, chunks in header["files"].items():
        wanted, file = sum(size for size, _ in chunks), path / name
        found = file.stat().st_size if file.is_file() else None
        if found != wanted:
            what = "is missing" if found is None else f"has {found} bytes, not {wanted}: it is cut off or damaged"
            raise ValueError(f"packed file {str(file)!r} {what}; copy it again or pack the images anew")


def verify(data: str, follow: Callable[[range], Iterable[int]] = iter) -> None:
    """Read every byte of a packed folder and hold it against the checksums; other data are left alone.

    follow: shows how far it is. Raises ValueError naming the first damaged file, and where it is damaged.
    """
    path = expand(data)
    if not is_packed(path):
        return
    header = read_header(path)
    with said_by(path / HEADER):
        check_sizes(path, header)
    parts = [(name, place) for name, chunks in header["files"].items() for place in range(len(chunks))]
    for number in follow(range(len(parts))):
        name, place = parts[number]
        chunks = header["files"][name]
        start, (size, digest) = sum(size for size, _ in chunks[:place]), chunks[place]
        if fingerprint(blocks_of(path / name, start, size)) != digest:
            raise ValueError(
                f"packed file {str(path / name)!r} is damaged between bytes {start} and {start + size}; copy it again "
                "or pack the images anew"
            )


def blocks_of(path: Path, start: int, size: int) -> Iterable[bytes]:
    """Some bytes of a file, block by block, as far as it has them."""
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (block := file.read(min(BLOCK, size))):
            size -= len(block)
            yield block


def as_packed(
    data: str, found: Listing, channels: int | None, pixel_range: PixelRange | None, bands: Bands | None
) -> tuple[int | None, PixelRange | None, Bands | None]:
    """Channels, pixel range and bands of a packed folder, where `found` is one; else those asked for.

    data: as it is named. Gray and colour serve for one another. Raises ValueError for what cannot be had from it any
    more.
    """
    if found.channels is None:
        return channels, pixel_range, bands
    if bands is not None and tuple(bands) != found.bands:
        theirs = " ".join(map(str, found.bands or ())) or "all"
        raise ValueError(
            f"data {data} was packed with bands {theirs}; pack it anew with --bands {' '.join(map(str, bands))}"
        )
    if channels is not None and channels != found.channels and not {channels, found.channels} <= MODES.keys():
        raise ValueError(
            f"data {data} was packed with {found.channels} channels, not {channels}; pack it anew with --channels "
            f"{channels}"
        )
    if pixel_range is not None and pixel_range != found.pixel_range:
        raise ValueError(
            f"data {data} was packed with pixel_range {found.pixel_range}, not {pixel_range}; pack it anew "
            f"with --pixel-range {pixel_range[0]:g} {pixel_range[1]:g}"
        )
    return channels or found.channels, found.pixel_range, found.bands


def from_array(pixels: np.ndarray, channels: int) -> EightBits:
    """An image that is an array of height x width or height x width x channels, with these channels.

    Raises ValueError where that cannot be.
    """
    found = as_bands(pixels)
    if found.shape[2] == channels:
        return found
    if found.shape[2] not in MODES:  # a fourth channel may be an opacity, and may be another band
        raise ValueError(f"it has {found.shape[2]} channels, not {channels}; see --channels and --bands")
    return from_pillow(Image.fromarray(found[..., 0] if found.shape[2] == 1 else found), 1, channels)
