"""A packing in segments: whoever is free packs the next one, and the main process joins them in their order."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from torch.utils.data import DataLoader

from pcae.data.batches import scanning_workers
from pcae.data.packed import chunks as chunked
from pcae.data.packed.chunks import Chunk, Jpeg, Pixels, Shrunk, bad_of, log_of, pack_rows, to_disk
from pcae.data.packed.reading import BLOCK
from pcae.data.unreadable import BadFiles
from pcae.settings.choices import Split
from pcae.sharing.cuts import pieces
from pcae.sharing.packing_folder import written
from pcae.sharing.progress import Pacer
from pcae.terminal import bar
from pcae.training.distributed import World

Found = dict[Split, dict[int, str]]
"""Why images of each split cannot be read, by index."""
SEGMENTS = 64
"""Segments that images are cut into, so that processes have something to share."""
LEAST, MOST = 4, 64
"""Chunks of a segment: a start of reading processes is little beside the least, and the most is what stands twice on
the disk while it is joined."""


def rows_of_a_segment(images: int) -> int:
    """Images of a segment. It depends on nothing but how many there are: not on who packs which."""
    in_all = -(-images // chunked.CHUNK)
    return min(max(-(-in_all // SEGMENTS), LEAST), MOST) * chunked.CHUNK


@dataclass(frozen=True)
class Segment:
    """Images in a row of a split. data: the file that they are packed to, log: that of its chunks."""

    split: Split
    rows: range
    data: Path
    log: Path

    def logged(self) -> list[Chunk]:
        """Its chunks, as far as they are packed."""
        return [chunk for _, chunk in log_of(self.log)]


@dataclass(frozen=True)
class Packing:
    """What is packed, where, how, and by whom. rows: images of a segment. workers: of each process, None for as many as
    fit.
    """

    out: Path
    form: Pixels | Jpeg
    splits: Mapping[Split, BadFiles]
    rows: int
    workers: int | None
    world: World

    def segments(self, name: Split) -> list[Segment]:
        """A split, cut."""
        cut = pieces(range(len(self.splits[name].images)), self.rows)
        return [
            Segment(name, rows, self.out / f"{name}.data-{number:05d}", self.out / f"{name}.chunks-{number:05d}")
            for number, rows in enumerate(cut)
        ]

    def is_joining(self) -> bool:
        """Whether all segments are packed and some may have been joined."""
        return any((self.out / f"{name}.data").is_file() for name in self.splits)

    def share(self) -> None:
        """Pack segments that nobody has begun until there are none; every process calls it.

        Raises ValueError, in all of them, for what ended it in any: too many images that cannot be read, a full disk.
        """
        world, fault = self.world, None
        segments = [segment for name in self.splits for segment in self.segments(name)]
        before = sum(chunk.seen for segment in segments for chunk in segment.logged()) if world.is_main else 0
        try:
            with Pacer("packing", sum(len(one.rows) for one in segments), before, world, None, str(self.out)) as pacer:
                while (end := world.count("segments begun", 1)) <= len(segments) and not world.count("stopped"):
                    self.pack(segments[end - 1], pacer)
        except ValueError as error:
            fault = str(error)
            world.count("stopped", 1)
        faults = [one for one in world.gather(fault) if one is not None]
        if world.count("stopped"):
            found: Found = {name: bad_files.found for name, bad_files in self.splits.items()}
            world.from_main(partial(self.check_bad, world.collect(found)))
            raise ValueError(faults[0])

    def pack(self, segment: Segment, pacer: Pacer) -> None:
        """Pack a segment, or what is missing of it. Raises ValueError when the disk does not take it."""
        images = self.splits[segment.split].images
        workers = scanning_workers(images, len(segment.rows)) if self.workers is None else self.workers
        files = segment.data, segment.log
        with written(self.out):
            follow, note = partial(one_by_one, pacer), partial(self.note, segment.split)
            pack_rows(images, self.form, segment.rows, files, workers, follow, note)

    def note(self, name: Split, chunks: Sequence[Chunk]) -> bool:
        """Tell all processes what cannot be read of chunks; whether they are to go on."""
        bad_files, failed = self.splits[name], bad_of(chunks)
        bad_files.add(failed)
        if self.world.count(f"bad files of {name}", len(failed)) > bad_files.limit * len(bad_files.images):
            self.world.count("stopped", 1)
        return not self.world.count("stopped")

    def check_bad(self, found: Sequence[Found] | None) -> None:
        """Raise ValueError, with names, when too many images cannot be read, by all processes."""
        for one in found or ():
            for name, failed in one.items():
                self.splits[name].add(failed)
        for bad_files in self.splits.values():
            bad_files.check()

    def join(self) -> dict[Split, list[Chunk]]:
        """Make one file of each split's segments; its chunks. An end in the middle is gone on from.

        Raises ValueError for a damaged file, and when too many images cannot be read.
        """
        segments: dict[Split, list[Segment]] = {name: self.segments(name) for name in self.splits}
        logged: dict[Split, list[list[Chunk]]] = {
            name: [checked(segment) for segment in some] for name, some in segments.items()
        }
        chunks: dict[Split, list[Chunk]] = {name: list(chain.from_iterable(some)) for name, some in logged.items()}
        found: Found = {name: bad_of(some) for name, some in chunks.items()}
        self.check_bad([found])
        for name, some in segments.items():
            lengths = [sum(chunk.length for chunk in of_segment) for of_segment in logged[name]]
            join_files(self.out / f"{name}.data", [segment.data for segment in some], lengths)
        return chunks


def one_by_one(pacer: Pacer, loader: DataLoader) -> Iterator[Shrunk]:
    """Images as a loader brings them, some at a time, which are counted."""
    return chain.from_iterable(pacer.watch(loader, lambda some: {"images": len(some)}))


def checked(segment: Segment) -> list[Chunk]:
    """The chunks of a segment that is packed. Raises ValueError where its log does not have all of them."""
    chunks = segment.logged()
    if sum(chunk.seen for chunk in chunks) != len(segment.rows):
        raise damaged(segment.log)
    return chunks


def join_files(whole: Path, parts: Sequence[Path], lengths: Sequence[int]) -> None:
    """Make one file of some, which go; the first becomes it.

    Those that were joined before an earlier end are no more there: each goes when the disk has its bytes. Raises
    ValueError for a file that has not its length.
    """
    if not whole.is_file():
        if not parts[0].is_file():
            raise damaged(whole)
        parts[0].replace(whole)
    start = 0
    for number in bar(f"joining {whole.name}")(range(len(parts))):
        if parts[number].is_file():
            append(parts[number], whole, start, lengths[number])
        start += lengths[number]
        if whole.stat().st_size < start:
            raise damaged(whole)
    os.truncate(whole, start)


def append(part: Path, whole: Path, start: int, length: int) -> None:
    """Have the bytes of a file stand at a place in another, behind which nothing else stands, and remove it."""
    if part.stat().st_size != length or whole.stat().st_size < start:
        raise damaged(part if part.stat().st_size != length else whole)
    with part.open("rb") as source, whole.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        shutil.copyfileobj(source, file, BLOCK)
        to_disk(file)
    part.unlink()


def damaged(path: Path) -> ValueError:
    """What is said of a file that an unfinished packing cannot have left."""
    return ValueError(f"packed file {str(path)!r} is damaged; remove {str(path.parent)!r} and pack the images anew")
