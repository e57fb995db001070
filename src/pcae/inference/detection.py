"""What a detector finds on images, shared among processes, and how good that is; while it is trained and afterwards."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from torch import Tensor
from torch.utils.data import DataLoader

from pcae.data.coco.annotations import CocoImages
from pcae.data.coco.checks import Id
from pcae.data.crops import to_tensor
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Read, left_out
from pcae.evaluation.coco_metrics import CocoScores, Detections, Result, score, to_results
from pcae.evaluation.throughput import seconds_of
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
    detection: Detection,
    open: Callable[[int], Tensor],
    ids: Sequence[Id],
    bad_files: BadFiles,
    world: World,
    workers: int,
) -> Iterator[Found]:
    """What is on this process's share of the images that can be read, one after the other, masks as pixels.

    ids: of the images. detection: in evaluation mode. Every process calls it and reads to the end; then all know which
    images cannot be read. Raises ValueError, in all of them, when these are too many.
    """
    readable, share = left_out(open, len(ids)), range(world.rank, len(ids), world.size)
    loader = DataLoader(readable, batch_size=1, sampler=share, num_workers=workers, collate_fn=itemgetter(0))
    for read in read_share(loader, bad_files, world, "finding objects"):
        if read.pixels is not None:
            yield found_on(detection, read, ids[read.image], world)


def found_on(detection: Detection, read: Read, id: Id, world: World) -> Found:
    """What is on an image."""
    found: list[dict[str, Tensor]] = []
    seconds = seconds_of(lambda: found.extend(detection.predict([read.pixels.to(world.device)])), world.device)
    objects = Detections(id, **{name: value.cpu() for name, value in found[0].items()})
    return Found(read.image, read.pixels, objects, seconds)


@dataclass(frozen=True)
class Measured:
    """How good a detector is. mask: None where it or the annotations have boxes only. results: what it found, as COCO
    writes it. images, objects: those that could be read, and what is on them less crowds. images_per_second: over all
    processes, without reading images.
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
    for found in find_objects(detection, data.read, data.ids, bad_files, world, workers):
        rows.append((found.index, to_results(found.objects, data.category_ids)))
        seconds += found.seconds
    shares = world.gather((rows, seconds))
    rows = sorted((row for rows, _ in shares for row in rows), key=lambda row: row[0])
    results = [result for _, some in rows for result in some]
    speed = sum(len(some) / max(spent, 1e-9) for some, spent in shares)
    seen = data.subset([index for index, _ in rows])
    box, mask = world.from_main(partial(both_scores, seen, results, detection.masks))
    return Measured(box, mask, results, len(rows), seen.objects, speed)


def both_scores(data: CocoImages, results: list[Result], masks: bool) -> tuple[CocoScores, CocoScores | None]:
    """The figures of boxes, and of masks where both sides have them. masks: whether the detector has."""
    both = masks and data.segmentations is not None
    return score(data, results, "bbox"), score(data, results, "segm") if both else None
