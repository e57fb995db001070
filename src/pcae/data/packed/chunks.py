"""Every image decoded and shrunk once, chunk by chunk, so that a packing that was killed goes on."""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from torch.utils.data import DataLoader

from pcae.data.crops import cut, fit, picture_of, to_array
from pcae.data.files.decode import Unreadable, reason_of, size_of, whole
from pcae.data.files.eight_bits import EightBits
from pcae.data.images import Images
from pcae.data.lazy import Lazy
from pcae.data.packed.reading import ROW, SAID, blocks_of, fingerprint
from pcae.data.survey import moments
from pcae.data.unreadable import read_or_not

Files = dict[str, list[tuple[int, str]]]
"""Size and fingerprint of each chunk of each file."""
CHUNK = 1_024
"""Images whose bytes have one checksum; what is lost at most when a packing is killed."""


@dataclass(frozen=True)
class Pixels:
    """Images of one size, resized to cover it, their centres cut out: height x width x channels bytes each."""

    image_size: tuple[int, int]

    def shrink(self, pixels: EightBits) -> np.ndarray:
        """The picture in that size."""
        return to_array(fit(pixels, (self.image_size[1], self.image_size[0])))

    def encode(self, pixels: EightBits) -> bytes:
        """All values, channel after channel of pixel after pixel."""
        return pixels.tobytes()


@dataclass(frozen=True)
class Jpeg:
    """Images whose shorter side is `side` pixels at most, their aspect kept, as JPEG files."""

    side: int
    quality: int

    def shrink(self, pixels: EightBits) -> np.ndarray:
        """The picture with that shorter side; a smaller one stays as it is."""
        width, height = size_of(pixels)
        share = self.side / min(width, height)
        if share >= 1:
            return pixels
        return to_array(
            cut(pixels, (0.0, 0.0, float(width), float(height)), (round(width * share), round(height * share)))
        )

    def encode(self, pixels: EightBits) -> bytes:
        """All that stands in the file. Raises OSError for a picture that is too long for the format."""
        buffer = io.BytesIO()
        picture_of(pixels).save(buffer, "JPEG", quality=self.quality)
        return buffer.getvalue()


class Shrunk(NamedTuple):
    """An image as it is packed, with mean and mean square of its pixels by channel; or why it could not be read."""

    content: bytes = b""
    mean: tuple[float, ...] = ()
    square: tuple[float, ...] = ()
    reason: str | None = None


def shrunk(images: Images, form: Pixels | Jpeg, index: int) -> Shrunk:
    """An image as it is packed."""
    try:
        pixels, _, missing = images.open_part(index, whole)
        pixels = form.shrink(pixels)
        return Shrunk(form.encode(pixels), *moments(pixels, shrunk_mask(form, missing)))
    except Unreadable as error:
        return Shrunk(reason=error.reason)
    except OSError as error:
        return Shrunk(reason=f"it cannot be packed: {reason_of(error)}")


def shrunk_mask(form: Pixels | Jpeg, missing: np.ndarray | None) -> np.ndarray | None:
    """Which pixels of the shrunk picture are of some that lack data, unless all do."""
    if missing is None or missing.all():
        return None
    return form.shrink(missing[..., None] * np.uint8(255))[..., 0] > 0


@dataclass(frozen=True)
class Chunk:
    """Images in a row of the data, as they were packed.

    seen: how many of the data's. sizes: bytes of each that was packed. digest: of these bytes. mean, square: sums of
    the images' by channel. bad: index and reason of those that could not be read.
    """

    seen: int
    sizes: list[int]
    digest: str
    mean: list[float]
    square: list[float]
    bad: list[Sequence[Any]]

    @property
    def length(self) -> int:
        """Its bytes."""
        return sum(self.sizes)


def pack_rows(
    images: Images,
    form: Pixels | Jpeg,
    rows: range,
    files: tuple[Path, Path],
    workers: int,
    follow: Callable[[DataLoader], Iterable[Shrunk]],
    note: Callable[[Sequence[Chunk]], bool],
) -> None:
    """Write some images to a file, from where an earlier packing stopped, and each chunk of them to a log.

    files: these two. note: is told of the chunks that are there, then of each that the log is to have; false ends it.
    Raises OSError when the disk does not take them.
    """
    chunks = whole_chunks(images, *files)
    left = range(rows.start + sum(chunk.seen for chunk in chunks), rows.stop)
    if not note(chunks) or not left:
        return
    packed = Lazy(partial(shrunk, images, form), range(len(images)))
    results = iter(follow(DataLoader(packed, 16, sampler=left, num_workers=workers, collate_fn=list)))
    with files[0].open("ab") as file, files[1].open("ab") as notes:
        for start in left[::CHUNK]:
            chunk = write_chunk(file, islice(results, CHUNK), start)
            if not note([chunk]):
                return
            to_disk(file)
            notes.write(json.dumps(asdict(chunk)).encode() + b"\n")
            to_disk(notes)


def bad_of(chunks: Sequence[Chunk]) -> dict[int, str]:
    """The reasons of what could not be read, by index."""
    return {index: reason for chunk in chunks for index, reason in chunk.bad}


def write_chunk(file: BinaryIO, results: Iterable[Shrunk], start: int) -> Chunk:
    """Write images as they come, the first of them the data's image `start`; what was written."""
    sizes, bad, sums = [], [], []

    def contents() -> Iterator[bytes]:
        for index, one in enumerate(results, start):
            if one.reason is not None:
                bad.append((index, one.reason))
                continue
            file.write(one.content)
            sizes.append(len(one.content))
            sums.append((one.mean, one.square))
            yield one.content

    digest = fingerprint(contents())
    mean, square = np.sum(sums, axis=0).tolist() if sums else ([], [])
    return Chunk(len(sizes) + len(bad), sizes, digest, mean, square, bad)


def to_disk(file: BinaryIO) -> None:
    """Wait until the disk has what was written."""
    file.flush()
    os.fsync(file.fileno())


def whole_chunks(images: Images, data: Path, log: Path) -> list[Chunk]:
    """The chunks of an earlier packing that are whole; what stands behind them is cut off.

    A chunk without an image that has been repaired since is whole when its bytes have its checksum.
    """
    chunks, length, start = [], 0, 0
    for end, chunk in log_of(log) if data.is_file() else ():
        digest = fingerprint(blocks_of(data, start, chunk.length))
        if digest != chunk.digest or repaired(images, chunk):
            break
        chunks.append(chunk)
        length, start = end, start + chunk.length
    for path, end in ((log, length), (data, start)):
        if path.is_file():
            os.truncate(path, end)
    return chunks


def log_of(path: Path) -> Iterator[tuple[int, Chunk]]:
    """The chunks of a log and where their lines end, up to one that is not whole."""
    end = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else []:
        try:
            chunk = Chunk(**json.loads(line))
        except (ValueError, TypeError):  # the last line, when the packing was killed while it wrote it
            return
        if not line.endswith(b"\n"):
            return
        end += len(line)
        yield end, chunk


def repaired(images: Images, chunk: Chunk) -> bool:
    """Whether an image of a chunk that could not be read can be read now."""
    return any(not read_or_not(images.open, index).failed for index, _ in chunk.bad)


def finish_split(images: Images, chunks: Sequence[Chunk], folder: Path, name: str) -> tuple[dict[str, Any], Files]:
    """Write names, classes and places of the images that were packed; what they are, and the files' checksums."""
    kept = np.delete(np.arange(len(images)), list(bad_of(chunks)))
    rows = np.zeros(len(kept), ROW)
    rows["end"] = np.cumsum([size for chunk in chunks for size in chunk.sizes])
    rows["label"] = -1 if images.labels is None else np.asarray(images.labels)[kept]
    names, index = folder / f"{name}.names", folder / f"{name}.index"
    with names.open("wb") as file:
        shorts = (images.short(row).encode("utf-8", "surrogateescape") for row in kept.tolist())
        rows["name_end"] = np.cumsum([file.write(short) for short in shorts])
        to_disk(file)
    write_whole(index, rows.tobytes())
    sums = np.array([(chunk.mean, chunk.square) for chunk in chunks if chunk.sizes]).sum(0) / len(kept)
    facts = {
        "images": len(kept),
        "bad_files": len(images) - len(kept),
        "classes": None if images.labels is None else list(images.classes),
        "mean": sums[0].tolist(),
        "std": np.sqrt((sums[1] - sums[0] ** 2).clip(0)).tolist(),
    }
    data = [(chunk.length, chunk.digest) for chunk in chunks]
    files = {f"{name}.data": data, names.name: part_of(names), index.name: part_of(index)}
    return facts, files | write_said(images.at(kept), folder / f"{name}{SAID}")


def write_said(images: Images, path: Path) -> Files:
    """Write what the source says of images that may have several labels each, if it does."""
    if images.said is None:
        return {}
    facts = asdict(images.said) | {"labels": list(images.said.labels), "classes": list(images.classes)}
    write_whole(path, json.dumps(facts).encode())
    return {path.name: part_of(path)}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file and wait for the disk; only the header, written after it, makes it count."""
    with path.open("wb") as file:
        file.write(content)
        to_disk(file)


def part_of(path: Path) -> list[tuple[int, str]]:
    """A file as one chunk: its size and fingerprint."""
    size = path.stat().st_size
    return [(size, fingerprint(blocks_of(path, 0, size)))]
