"""Images cut into parts, and the batches of each part, which one reading process brings in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pcae.data.batches import leave_signals
from pcae.data.images import Images
from pcae.data.lazy import Lazy
from pcae.data.shards.remote import RETRIES, SourceGone, is_address
from pcae.data.unreadable import Batch, Read, collate
from pcae.settings.reading import THREADS

PARTS = 64
"""Parts that few images are cut into, so that processes have something to share."""
LEAST, MOST = 512, 16_384
"""Images of a part where nobody says how many: a start of a reading process is little beside the least, and the most
is what is done again after a process was killed."""


def rows_of_a_part(images: int, batch_size: int, asked: int | None = None) -> int:
    """Images of a part, in whole batches."""
    rows = asked or min(max(-(-images // PARTS), LEAST), MOST)
    return -(-rows // batch_size) * batch_size


def pieces(rows: range, size: int) -> list[range]:
    """Rows, so many at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def cut(images: Images, rows: int) -> list[range]:
    """The images in parts of so many; .tar shards of a stream, which are read from their beginning alone, stay whole.

    It depends on nothing but the images and the rows: not on who does which part.
    """
    if images.stream is None:
        return pieces(range(len(images)), rows)
    shards, parts = images.stream, list[range]()
    for number, path in enumerate(shards.paths):
        shard = range(shards.first(number), int(shards.ends[number]))
        for piece in pieces(shard, max(len(shard), 1) if path.lower().endswith(".tar") else rows):
            if parts and len(parts[-1]) + len(piece) <= rows:
                parts[-1] = range(parts[-1].start, piece.stop)
            else:
                parts.append(piece)
    return parts


class Brought(NamedTuple):
    """A batch of a part, or why the rest of the part cannot be read. retries: reads that were tried again for it."""

    part: int
    batch: Batch | None
    fault: str = ""
    retries: int = 0

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return len(self.batch.indices) + len(self.batch.failed) if self.batch else 0

    def counts(self) -> dict[str, int]:
        """What is counted of it."""
        return {"images": self.images, "retries": self.retries}


@dataclass(frozen=True, eq=False)
class PartBatches(IterableDataset):
    """The batches of some parts, each part whole in one reading process.

    read: an image by its index. made: a batch of some. threads: that read at once, where most of the time is spent
    waiting for a server.
    """

    read: Lazy[Read]
    parts: Sequence[range]
    numbers: Sequence[int]
    batch_size: int
    threads: int = 0
    made: Callable[[list[Read]], Batch] = collate

    def __iter__(self) -> Iterator[Brought]:
        worker, before = get_worker_info(), RETRIES.count
        mine = self.numbers[worker.id :: worker.num_workers] if worker else self.numbers
        with ThreadPoolExecutor(self.threads) if self.threads else nullcontext() as pool:
            for number in mine:
                for batch, fault in self.batches(number, pool):
                    now = RETRIES.count
                    yield Brought(number, batch, fault, now - before)
                    before = now

    def batches(self, number: int, pool: ThreadPoolExecutor | None) -> Iterator[tuple[Batch | None, str]]:
        """The batches of a part, in order; at a shard that cannot be read, why."""
        try:
            for read in self.in_order(number) if pool is None else self.ahead(number, pool):
                yield self.made(read), ""
        except SourceGone as error:
            yield None, str(error)

    def cut(self, number: int) -> list[range]:
        """The indices of a part's batches."""
        return pieces(self.parts[number], self.batch_size)

    def in_order(self, number: int) -> Iterator[list[Read]]:
        """The images of a part, some at a time."""
        return ([self.read[index] for index in some] for some in self.cut(number))

    def ahead(self, number: int, pool: ThreadPoolExecutor) -> Iterator[list[Read]]:
        """The same, of which two batches are asked for at once."""
        asked: deque[list[Future[Read]]] = deque()
        try:
            for some in self.cut(number):
                asked.append([pool.submit(self.read.__getitem__, index) for index in some])
                if len(asked) > 1:
                    yield [one.result() for one in asked.popleft()]
            while asked:
                yield [one.result() for one in asked.popleft()]
        finally:
            for one in (one for some in asked for one in some):
                one.cancel()


def reading_threads(images: Images) -> int:
    """How many threads read at once: one that goes through a shard at an address, many for images at addresses of
    their own, none where a disk has them."""
    if images.stream is not None:
        return int(is_address(images.stream.paths[0]))
    return THREADS if len(images) and is_address(images.names[0]) else 0


def loader_of(batches: PartBatches, workers: int) -> DataLoader:
    """Batches as reading processes bring them, or this one."""
    return DataLoader(batches, batch_size=None, num_workers=workers, worker_init_fn=leave_signals)
