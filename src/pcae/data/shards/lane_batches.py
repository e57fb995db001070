"""Batches of a stream: each reading process walks through lanes of its own, and takes its part of every batch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pcae.data.batches import MicroBatches, leave_signals, training_workers
from pcae.data.crops import RandomCrops
from pcae.data.files.bounds import MOST_BYTES
from pcae.data.files.decode import Unreadable
from pcae.data.images import Images
from pcae.data.shards.lanes import Block, Lanes, count_lanes
from pcae.data.shards.samples import Sample
from pcae.data.shards.shard_list import ShardList
from pcae.data.shards.stream import Reader
from pcae.data.unreadable import TRIES, Batch, Read, collate
from pcae.settings.reading import DataConfig

SHUFFLE = 64
"""Samples of a block where none are asked for."""
Placed = tuple[int, int, Sample]
"""A sample, with its shard and its row there."""


@dataclass(frozen=True, eq=False)
class LaneBatches(IterableDataset):
    """What a reading process has of this process's micro-batches, as `Batch`es, in their order.

    Row r of a step belongs to lane r // (batch size / lanes). Of the lanes of each micro-batch, every reading process
    has the same.
    """

    crops: RandomCrops
    shards: ShardList
    lanes: Lanes
    order: MicroBatches

    @property
    def each(self) -> int:
        """Rows of a step that a lane has."""
        return self.order.batch_size // self.lanes.lanes

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        reads = {lane: self.read(lane) for lane in self.mine(0, 1, range(self.order.accumulation))}
        parts = (worker.id, worker.num_workers) if worker else (0, 1)
        for _ in range(self.order.start, self.order.steps):
            for micro in range(self.order.accumulation):
                lanes = self.mine(*parts, range(micro, micro + 1))
                yield collate([read for lane in lanes for read in islice(reads[lane], self.each)])

    def joined(self, workers: int, device: torch.device) -> Iterator[Batch]:
        """The micro-batches, whose parts reading processes bring in turns."""
        loader = DataLoader(self, batch_size=None, num_workers=workers, worker_init_fn=leave_signals)
        parts = iter(loader)
        for _ in range(len(self.order)):
            batch = put_together(list(islice(parts, max(workers, 1))))
            yield batch._replace(pixels=batch.pixels.pin_memory()) if device.type == "cuda" else batch

    def mine(self, part: int, parts: int, micros: range) -> range:
        """The lanes of some micro-batches of this process; one part of them."""
        wide = self.lanes.lanes // (self.order.processes * self.order.accumulation)
        first = (self.order.rank * self.order.accumulation + micros.start) * wide
        lanes = range(first, first + wide * len(micros))
        return lanes[len(lanes) * part // parts : len(lanes) * (part + 1) // parts]

    def read(self, lane: int) -> Iterator[Read]:
        """A lane's crops without end, from the step on with which the run begins or goes on."""
        number = self.order.start * self.each
        reader = Reader(self.shards)
        for block, first in self.lanes.blocks(lane, number):
            samples = list(take(reader, block))
            shown = [samples[place] for place in block.order]
            for place in range(first, len(shown)):
                behind = self.behind(lane, number + len(shown) - place)
                yield self.crop(chain(shown[place:], shown[:place], behind), self.position(lane, number))
                number += 1
            del samples, shown

    def position(self, lane: int, number: int) -> int:
        """The position in the run of a lane's sample."""
        step, place = divmod(number, self.each)
        return step * self.order.batch_size + lane * self.each + place

    def behind(self, lane: int, number: int) -> Iterator[Placed]:
        """A lane's samples from that of a number on, as they lie: what stands in where all of a block is unreadable."""
        reader = Reader(self.shards)
        for block, _ in self.lanes.blocks(lane, number):
            yield from take(reader, block)

    def crop(self, candidates: Iterable[Placed], position: int) -> Read:
        """The crop of the first of some samples that can be read. Raises ValueError when none can."""
        failed: dict[int, str] = {}
        for shard, row, sample in islice(candidates, TRIES):
            place = self.shards.first(shard) + row
            name = self.shards.name(place)
            try:
                if sample.fault:
                    raise Unreadable(name, sample.fault)
                return Read(self.crops.crop(sample.content, position, name), place, failed)
            except Unreadable as error:
                failed[place] = f"{sample.name}: {error.reason}" if sample.name else error.reason
        first, reason = next(iter(failed.items()))
        name = self.crops.images.names[first]
        raise ValueError(f"{TRIES} images in a row cannot be read, the first one: {name!r} ({reason})")


def take(reader: Reader, block: Block) -> Iterator[Placed]:
    """The samples of a block, as they lie. Raises ValueError for more bytes than are safe to hold."""
    held = 0
    for shard, row in block.rows():
        sample = reader.read(shard, row)
        held += len(sample.content)
        if held > MOST_BYTES:
            raise ValueError(
                f"{len(block.order)} samples in a row, up to {row} of shard {reader.shards.paths[shard]!r}, have more "
                f"bytes than are safe to hold ({MOST_BYTES:,}); give a smaller --shuffle"
            )
        yield shard, row, sample


def lane_loader(crops: RandomCrops, order: MicroBatches, reading: DataConfig, device: torch.device) -> Iterator[Batch]:
    """This process's micro-batches of a stream's crops, in the order of its lanes; for a GPU in pinned memory.

    Raises ValueError for lanes or reading processes that do not fit.
    """
    parts = order.processes * order.accumulation
    count = lanes_of(reading, crops.images, order.batch_size, parts)
    shards = crops.images.stream
    assert count is not None and shards is not None
    lanes = Lanes(shards.counts, count, reading.shuffle or SHUFFLE, order.seed)
    workers = lane_workers(reading, device, count // parts)
    return LaneBatches(crops, shards, lanes, order).joined(workers, device)


def lanes_of(reading: DataConfig, images: Images, batch_size: int, parts: int) -> int | None:
    """Lanes of a run over a stream; None over other images. Raises ValueError for settings that do not fit.

    parts: processes x accumulation.
    """
    if images.stream is not None:
        return count_lanes(reading.lanes, batch_size, parts, len(images))
    for name in ("lanes", "shuffle"):
        if getattr(reading, name) is not None:
            raise ValueError(f"{name} {getattr(reading, name)} is for streams; add --stream, or leave --{name} out")
    return None


def lane_workers(reading: DataConfig, device: torch.device, most: int) -> int:
    """Reading processes of a stream; each has a lane of every micro-batch at least, so that `most` have work.

    Raises ValueError for more that are asked for.
    """
    if reading.workers is not None and reading.workers > most:
        raise ValueError(
            f"workers {reading.workers} are more than the {most} lanes of a micro-batch; give --workers {most}, or "
            "more --lanes"
        )
    return min(training_workers(reading, device), most)


def put_together(parts: list[Batch]) -> Batch:
    """The parts of a batch, one after the other."""
    if len(parts) == 1:
        return parts[0]
    indices = [index for part in parts for index in part.indices]
    failed = {index: reason for part in parts for index, reason in part.failed.items()}
    return Batch(torch.cat([part.pixels for part in parts]), indices, failed)
