"""What a detector finds on images, shared among processes, and how good that is; while it is trained and afterwards."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.utils.data import DataLoader

from pcae.data.coco.annotations import CocoImages
from pcae.data.crops import to_tensor
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Read, left_out
from pcae.evaluation.coco_metrics import CocoScores, Detections, Result, score, to_results
from pcae.evaluation.throughput import wait_for
from pcae.inference.held_out import read_share
from pcae.tasks.detection import Detection
from pcae.training.distributed import World


def pixels_of(images: Images, index: int) -> Tensor:
    """The pixels of an image. Raises Unreadable."""
    return to_tensor(images.open(index))


@dataclass(frozen=True)
class Found:
    """What is on an image. index: its place among the images. seconds: that finding it took."""

    index: int
    pixels: Tensor
    objects: Detections
    seconds: float


def find_objects(
    detection: Detection, open: Callable[[int], Tensor], ids: list[int], bad_files: BadFiles, world: World, workers: int
) -> Iterator[Found]:
    """What is on this process's share of the images that can be read, one after the other, masks as pixels.

    ids: of the images. detection: in evaluation mode. Every process calls it and reads to the end; then all know which
    images cannot be read. Raises ValueError, in all of them, when these are too many.
    """
    readable, share = left_out(open, len(ids)), range(world.rank, len(ids), world.size)
    loader = DataLoader(readable, batch_size=1, sampler=share, num_workers=workers, collate_fn=only)
    for read in read_share(loader, bad_files, world, "finding objects"):
        if read.pixels is not None:
            yield found_on(detection, read, ids[read.image], world)


def only(read: list[Read]) -> Read:
    """The image of a batch of one."""
    return read[0]


def found_on(detection: Detection, read: Read, id: int, world: World) -> Found:
    """What is on an image."""
    wait_for(world.device)
    started = time.perf_counter()
    found = detection.predict([read.pixels.to(world.device)])[0]
    wait_for(world.device)
    seconds = time.perf_counter() - started
    found = {name: value.cpu() for name, value in found.items()}
    return Found(read.image, read.pixels, Detections(id, **found), seconds)


@dataclass(frozen=True)
class Measured:
    """How good a detector is. mask: None where the annotations have boxes only. results: what it found, as COCO writes
    it. images, objects: those that could be read, and what is on them. images_per_second: over all processes, without
    reading images.
    """

    box: CocoScores
    mask: CocoScores | None
    results: list[Result]
    images: int
    objects: int
    images_per_second: float

    def numbers(self) -> dict[str, float]:
        """The figures by name, less those of which there is no object."""
        scores = {"box": self.box} | ({} if self.mask is None else {"mask": self.mask})
        named = {
            f"{kind}_{name}": getattr(one, name) for kind, one in scores.items() for name in ("ap", "ap50", "ap75")
        }
        return {name: value for name, value in named.items() if value is not None}


def measure(detection: Detection, data: CocoImages, bad_files: BadFiles, world: World, workers: int) -> Measured:
    """COCO's figures of a detector in evaluation mode, on the images that can be read; each process looks at its share.

    Every process calls it.
    """
    rows: list[tuple[int, list[Result]]] = []
    seconds = 0.0
    for found in find_objects(detection, data.read, data.ids.tolist(), bad_files, world, workers):
        rows.append((found.index, to_results(found.objects, data.category_ids)))
        seconds += found.seconds
    shares = world.gather((rows, seconds))
    rows = sorted((row for rows, _ in shares for row in rows), key=lambda row: row[0])
    results = [result for _, some in rows for result in some]
    speed = sum(len(some) / max(spent, 1e-9) for some, spent in shares)
    seen = data.subset([index for index, _ in rows])
    box, mask = world.from_main(partial(both_scores, seen, results))
    return Measured(box, mask, results, len(rows), len(seen.labels), speed)


def both_scores(data: CocoImages, results: list[Result]) -> tuple[CocoScores, CocoScores | None]:
    """The figures of boxes, and of masks where there are any."""
    return score(data, results, "bbox"), score(data, results, "segm") if data.segmentations is not None else None
