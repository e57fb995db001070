"""Every image answered, part by part: finished parts stand in a folder and are not done again."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from pcae.data.unreadable import BadFiles, Batch, Read, collate, left_out, read_or_not
from pcae.sharing.cuts import Brought, PartBatches, cut, loader_of, reading_threads, rows_of_a_part
from pcae.sharing.part_folder import BAD, PartFolder
from pcae.sharing.progress import Pace, Pacer
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.interruption import Interrupted, asked_to_stop

SUMMARY, LOG = "_summary.json", "_log"
LATE = (1.0, 4.0, 15.0, 60.0)
"""Seconds after which a folder is listed again: network disks keep a listing for a minute."""
GROUP = 2**24
"""Bytes of features that are written at once."""


@dataclass(frozen=True)
class Work:
    """What is done with images. verb: for the line that shows how far it is. read: the pixels of an image by its index.
    facts: what decides the values. schema: of the parts, as pyarrow has it. rows: of a batch, a table of that schema.
    left_out: what becomes of images that cannot be read, where that is to be said. made: a batch of what was read.
    """

    verb: str
    read: Callable[[int], Any]
    facts: Callable[[], Mapping[str, Any]]
    schema: Any
    rows: Callable[[Batch], Any]
    left_out: str = ""
    made: Callable[[list[Read]], Batch] = collate


@dataclass(frozen=True)
class Shared:
    """What was done: images with an answer, parts, and of this start the speed of all processes together."""

    images: int
    bad_files: dict[str, str]
    parts: int
    processes: int
    images_per_second: float
    data_wait_share: float
    retries: int
    seconds: float

    def numbers(self) -> dict[str, float]:
        """All but what could not be read."""
        return {name: value for name, value in vars(self).items() if name not in {"images", "bad_files"}}


@dataclass
class OpenPart:
    """A part that is being written. left: images that have not come yet. bad: why others cannot be read, by index."""

    folder: PartFolder
    number: int
    left: int
    schema: Any
    bad: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from pyarrow.parquet import ParquetWriter

        self.beside = self.folder.beside(self.folder.part(self.number))
        self.writer = ParquetWriter(self.beside, self.schema)
        self.tables: list[Any] = []

    def add(self, table: Any, failed: Mapping[int, str], images: int) -> None:
        """The rows of a batch, of so many images."""
        self.left -= images
        self.bad |= failed
        self.tables.append(table)
        if sum(one.nbytes for one in self.tables) > GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that came, as one group."""
        import pyarrow

        if self.tables:
            self.writer.write_table(pyarrow.concat_tables(self.tables).combine_chunks())
        self.tables = []

    def finish(self, lines: Callable[[dict[int, str]], str]) -> None:
        """Have it stand in the folder. lines: what is written down of images that cannot be read."""
        self.flush()
        self.writer.close()
        name = self.folder.bad(self.number)
        if self.bad:
            self.folder.write(name, lines(self.bad).encode())
        self.folder.put(self.beside, self.folder.part(self.number))
        if not self.bad:
            self.folder.remove(name)

    def discard(self) -> None:
        """Leave nothing of it."""
        self.writer.close()
        self.beside.unlink(missing_ok=True)


@dataclass(frozen=True)
class InParts:
    """Images that processes share. batch_size, workers: of each process."""

    work: Work
    folder: PartFolder
    bad_files: BadFiles
    world: World
    batch_size: int
    workers: int
    part_rows: int | None = None

    def run(self) -> Shared:
        """Do what is not there yet; every process calls it.

        Raises Interrupted where it is asked to stop, ValueError where the folder holds something else, where too many
        images cannot be read, and, when all else is done, where shards cannot be read.
        """
        images, world = self.bad_files.images, self.world
        rows = rows_of_a_part(len(images), self.batch_size, self.part_rows)
        parts = cut(images, rows)
        left = world.from_main(partial(self.begin, parts, rows))
        before = len(images) - sum(len(parts[number]) for number in left)
        log = None if self.folder.address else Path(self.folder.place) / LOG
        with (
            Pacer(self.work.verb, len(images), before, world, log, self.folder.place) as pacer,
            asked_to_stop() as asked,
        ):
            broken = self.do(parts, left, pacer, asked)
            pacer.tell()
            every = [fault for some in world.gather(broken) for fault in some]
            return world.from_main(partial(self.end, parts, every, pacer))

    def begin(self, parts: list[range], rows: int) -> list[int]:
        """The parts that are still to be done."""
        images = self.bad_files.images
        facts = {"pcae": 1, "verb": self.work.verb, "parts": len(parts), "part_rows": rows, "images": len(images)}
        self.folder.begin(facts | json.loads(json.dumps(dict(self.work.facts()))))
        done = self.folder.finished() - self.repaired()
        return [number for number in range(len(parts)) if number not in done]

    def repaired(self) -> set[int]:
        """Finished parts of which an image could not be read then and can be now."""
        images = self.bad_files.images
        if images.stream is not None:  # a look would read a shard up to it
            return set()
        return {
            number
            for number, rows in self.noted()
            if any(not read_or_not(images.open, row["index"]).failed for row in rows)
        }

    def noted(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """What could not be read, by part, as it was written down."""
        for name in self.folder.names():
            if found := BAD.fullmatch(name):
                yield int(found[1]), [json.loads(line) for line in self.folder.read(name).decode().splitlines()]

    def bad_in_all(self) -> dict[int, str]:
        """Why images cannot be read, by index, of those of all parts."""
        return {row["index"]: row["reason"] for _, rows in self.noted() for row in rows}

    def do(self, parts: list[range], left: list[int], pacer: Pacer, asked: Event) -> list[str]:
        """Do parts that nobody has begun until there are none; why some could not be done. asked: to stop."""
        read = left_out(self.work.read, len(self.bad_files.images))
        threads, at_once, broken = reading_threads(self.bad_files.images), max(self.workers, 1), list[str]()
        while (end := self.world.count(f"begun in {self.folder.place}", at_once)) - at_once < len(left):
            numbers = left[end - at_once : end]
            batches = PartBatches(read, parts, numbers, self.batch_size, threads, self.work.made)
            loader = loader_of(batches, min(self.workers, len(numbers)))
            broken += self.write(pacer.watch(loader, Brought.counts), parts, asked)
        return broken

    def write(self, brought: Iterator[Brought], parts: list[range], asked: Event) -> list[str]:
        """Write the parts that are brought; why some could not be read to their end."""
        with ExitStack() as failure:
            open_parts: dict[int, OpenPart] = {}
            failure.callback(lambda: [part.discard() for part in open_parts.values()])
            broken = []
            for one in brought:
                if asked.is_set():
                    raise Interrupted(
                        f"asked to stop; finished parts are in {self.folder.place}, the same command goes on"
                    )
                if one.part not in open_parts:
                    number = one.part
                    open_parts[number] = OpenPart(self.folder, number, len(parts[number]), self.work.schema)
                part = open_parts[one.part]
                if one.batch is None:
                    broken.append(one.fault)
                    open_parts.pop(one.part).discard()
                    continue
                self.bad_files.add(one.batch.failed)
                self.bad_files.check()
                part.add(self.work.rows(one.batch), one.batch.failed, one.images)
                if not part.left:
                    open_parts.pop(one.part).finish(self.lines)
            return broken

    def lines(self, bad: Mapping[int, str]) -> str:
        """What is written down of images that cannot be read."""
        names = self.bad_files.images.names
        return "".join(
            json.dumps({"index": index, "file": names[index], "reason": why}) + "\n"
            for index, why in sorted(bad.items())
        )

    def end(self, parts: list[range], broken: list[str], pacer: Pacer) -> Shared:
        """Say what was done. Raises ValueError for parts that could not be."""
        if broken:
            raise ValueError(
                f"{len(broken)} of {len(parts)} parts could not be done, all others are: {broken[0]}; the same command "
                "does what is missing"
            )
        self.check_there(len(parts))
        bad = BadFiles(self.bad_files.images, self.bad_files.limit, self.bad_in_all())
        bad.check()
        if bad.found and self.work.left_out:
            console.print(f"{bad.describe()}; {self.work.left_out}")
        self.folder.sweep(0)
        done = self.summary(len(bad.images) - len(bad.found), bad.by_name(), len(parts), pacer.tell())
        facts = vars(done) | {"bad_files": len(bad.found), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        self.folder.write(SUMMARY, (json.dumps(facts, indent=1) + "\n").encode())
        return done

    def check_there(self, parts: int) -> None:
        """Raise ValueError where parts that other processes wrote are not there; network disks show them late."""
        for wait in (*LATE, None):
            missing = sorted(set(range(parts)) - self.folder.finished())
            if not missing:
                return
            if wait is None:
                raise ValueError(
                    f"{len(missing)} of {parts} parts are not in {self.folder.place!r}, the first is "
                    f"{self.folder.part(missing[0])}; give a folder that all machines share"
                )
            time.sleep(wait)

    def summary(self, images: int, bad_files: dict[str, str], parts: int, pace: Pace) -> Shared:
        """What was done; where nothing was left to do, the speed is that of the start before."""
        size, speed = self.world.size, pace.speed
        now = Shared(images, bad_files, parts, size, speed, pace.waiting, pace.retries, pace.seconds)
        if pace.images or SUMMARY not in self.folder.names():
            return now
        before = json.loads(self.folder.read(SUMMARY))
        return replace(now, **{name: before[name] for name in now.numbers() if name in before})
