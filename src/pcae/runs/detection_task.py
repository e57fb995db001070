"""A run of training a detector: images, network and optimizer, and how they are looked at and kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from pcae.data.augment import Normalise
from pcae.data.batches import check_data_config, training_workers
from pcae.data.coco.annotations import CocoImages, open_coco
from pcae.data.coco.views import CocoViews, check_view_config, view_loader
from pcae.data.files.decode import check_pixel_range
from pcae.data.images import channels_of
from pcae.data.unreadable import BadFiles
from pcae.inference.detection import Measured, measure
from pcae.model.compiled import uncompiled
from pcae.runs.dry_run import peak_of_step
from pcae.runs.initial_weights import InitialWeights, load_weights
from pcae.runs.run import TrainingRun
from pcae.runs.task import Validated
from pcae.settings.bounds import check_bounds
from pcae.settings.reading import DataConfig, ViewConfig
from pcae.settings.verbs.detect import USUAL_EPOCHS, DetectTrainConfig
from pcae.tasks.detection import Annotated as Objects
from pcae.tasks.detection import Detection, detection_groups
from pcae.tasks.freezing import say_frozen
from pcae.tasks.mask_rcnn import Inputs
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.loop import Batch
from pcae.training.micro_batches import random_parts
from pcae.training.optimizer import check_optimizer_config
from pcae.training.plan import make_plan
from pcae.training.randomness import StepRandom
from pcae.weights.detectors import DETECTOR_FILE, DetectorFacts, build_detection, save_detector

LAYER_DECAY = 0.7
SHOWN = 10
"""Objects of each made-up image that a dry run measures memory on."""


@dataclass(kw_only=True)
class DetectorTraining(Validated[DetectTrainConfig, Detection, Measured]):
    """A run of training a detector: what it is trained on, what it is measured on, what it says of itself."""

    what = "training the detector"
    weights_file = DETECTOR_FILE
    best_by = ("mask_ap", "box_ap")
    best_name = "best_ap"
    data: CocoImages
    held_out: CocoImages
    facts: DetectorFacts

    def batches(self) -> Iterator[tuple[Batch, StepRandom]]:
        """Views of images with their objects."""
        config, device, own = self.run.config, self.run.world.device, self.run.own_images()
        seed, workers = config.run.seed, training_workers(config.reading, device)
        loader = view_loader(CocoViews(self.data, config.view, seed), own, workers, device)
        for batch, random in zip(loader, random_parts(own, seed, device), strict=False):
            self.run.bad_files.add(batch.failed)
            there = batch.to(device)
            yield Objects(there.images, there.targets), random

    def announce(self) -> None:
        """Print what the annotations lack, the plan, the network and the data."""
        for note in dict.fromkeys((*self.data.notes, *self.held_out.notes)):
            console.print(f"note: {note}")
        self.run.describe_plan()
        method = self.run.method
        for line in say_frozen(method, self.run.config.detection.freeze):
            console.print(line)
        millions = [sum(one.numel() for one in part.parameters()) / 1e6 for part in (method.encoder, method)]
        kind = "Mask R-CNN" if self.facts.masks else "Faster R-CNN, boxes alone"
        console.print(
            f"{kind} on {self.source}: {millions[0]:.1f} M of {millions[1]:.1f} M parameters; "
            f"{self.data.objects} objects of {len(self.classes)} categories, {len(self.held_out)} held-out images, "
            f"looked at every {self.every} steps"
        )

    def measure(self, method: Detection) -> Measured:
        """COCO's figures on the held-out images."""
        world = self.run.world
        with uncompiled():
            return measure(
                method, self.held_out, self.test, world, training_workers(self.run.config.reading, world.device)
            )

    def write(self, path: Path, method: Detection) -> None:
        """Write the detector."""
        save_detector(path, method, self.facts)

    def peak(self, batch: int) -> int:
        """Bytes at the peak of a step on so many made-up images of the largest size that views have."""
        run, device = self.run, self.run.world.device
        images = made_up(run.config.view, self.facts.encoder.channels or 3, batch, device, self.facts.masks)
        masks = [one["masks"] for one in images.targets if "masks" in one]
        return peak_of_step(run, images, batch, [*images.images, *masks])


def made_up(view: ViewConfig, channels: int, batch: int, device: torch.device, with_masks: bool) -> Objects:
    """Images of the largest size that views have, with squares on them."""
    height, width = view.jitter_size if view.views == "jitter" else (max(view.shortest_sides), view.longest_side)
    side = max(1, min(height, width) // 4)
    places = torch.linspace(0, 1, SHOWN).outer(torch.tensor([width - side, height - side])).long()
    target = {"boxes": torch.cat([places, places + side], 1).float(), "labels": torch.ones(SHOWN).long()}
    if with_masks:
        target["masks"] = torch.zeros(SHOWN, height, width, dtype=torch.uint8)
        for mask, (left, top) in zip(target["masks"], places.tolist(), strict=True):
            mask[top : top + side, left : left + side] = 1
    there = {name: value.to(device) for name, value in target.items()}
    return Objects([torch.rand(channels, height, width).to(device) for _ in range(batch)], [there] * batch)


def check(config: DetectTrainConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
    check_bounds(config)
    check_data_config(config.reading)
    check_pixel_range(config.reading.pixel_range)
    for name, instead in (
        ("crop_scale", "--views, --shortest-sides and --jitter-scale"),
        ("flip", "--no-mirror"),
        ("stream", "files of images"),
        ("lanes", "files of images"),
        ("shuffle", "files of images"),
    ):
        if getattr(config.reading, name) != getattr(DataConfig(), name):
            raise ValueError(f"{name} is not for images with objects; use {instead}")
    if config.network.image_size is not None:
        raise ValueError(
            f"image_size {config.network.image_size} is not for detection, whose images have the size of their views; "
            "use --shortest-sides and --longest-side, or --jitter-size"
        )
    if config.detection.reduce_after and not config.detection.drop_ratio:
        raise ValueError(f"reduce_after {config.detection.reduce_after} drops nothing without drop_ratio; give it, too")
    check_optimizer_config(config.optimizer)
    check_view_config(config.view)


def build_task(config: DetectTrainConfig, world: World) -> DetectorTraining:
    """Images, detector and optimizer, as they start or as the checkpoint to go on from has them."""
    check(config)
    initial = world.main_first(lambda: load_weights(config))
    config = replace(config, reading=initial.reading)
    data, held_out = world.main_first(lambda: open_data(config, initial))
    initial = replace(initial, encoder=replace(initial.encoder, channels=data.images.channels))
    plan = make_plan(config.run, config.optimizer, len(data), world.size, USUAL_EPOCHS)
    facts = facts_of(config, initial, data)
    method = initial_detector(config, initial, facts, world)
    decay = initial.layer_decay(config.detection.layer_decay, LAYER_DECAY)
    run = TrainingRun.start_or_resume(
        config,
        data.images,
        plan,
        method,
        initial.encoder.image_size,
        world,
        groups=lambda: detection_groups(method, config.optimizer.weight_decay, decay),
        classes=facts.classes,
        objects=len(data.labels),
    )
    mean, std = run.facts["mean"], run.facts["std"]
    for detector in (run.method, run.meta_copy):
        if detector is not None:
            normalise_by(detector, mean, std)
    return DetectorTraining(
        run=run,
        test=BadFiles(held_out.images, config.reading.max_bad_files),
        classes=facts.classes,
        source=initial.source,
        every=plan.steps_every(config.evaluate_every),
        data=data,
        held_out=held_out,
        facts=replace(facts, mean=mean, std=std),
    )


def normalise_by(detection: Detection, mean: list[float], std: list[float]) -> None:
    """Have a detector normalise pixels by what is now known of them. Raises ValueError for what cannot be."""
    Normalise(mean, std, detection.encoder.channels)
    inputs = cast(Inputs, detection.network.transform)
    inputs.image_mean, inputs.image_std = mean, std


def open_data(config: DetectTrainConfig, initial: InitialWeights) -> tuple[CocoImages, CocoImages]:
    """Training and held-out images with the same labels. Raises ValueError with the remedy."""
    channels = channels_of(initial.encoder.channels, initial.reading.bands) or 3
    reading = config.annotations
    data = open_coco(config.data, "train", config.images, channels, reading)
    reading = reading if data.segmentations is not None else replace(reading, masks="never")
    other = config.validation or config.data
    held_out = open_coco(other, "test", config.validation_images or config.images, channels, reading)
    if config.validation is None and held_out.annotations == data.annotations:
        raise ValueError(
            f"data {config.data!r} has no held-out images; add --validation OTHER.json, or the same file to see how "
            "well it is learned by heart"
        )
    for one in (data, held_out):
        if not one.objects:
            raise ValueError(f"annotations {one.annotations!r} have no object, {nothing_but(one)}")
    shown = data if config.empty_images else with_objects(data)
    return read_as(shown, initial.reading), read_as(held_out.labelled_as(data.images.classes), initial.reading)


def nothing_but(data: CocoImages) -> str:
    """What annotations without objects have, and what helps."""
    if len(data.crowds):
        return f"only {len(data.crowds)} crowds (iscrowd 1); take these as objects by --crowds-as-objects"
    return "all of them having been left out; give others"


def with_objects(data: CocoImages) -> CocoImages:
    """The images that show an object; how many others there are is noted."""
    shown = data.with_objects()
    note = f"{len(data) - len(shown)} of {len(data)} images show no object and are left out; --empty-images takes them"
    return replace(shown, notes=(*shown.notes, *[note][: len(data) - len(shown)]))


def read_as(data: CocoImages, reading: DataConfig) -> CocoImages:
    """The images, of which these bands are read, and 16-bit and float pixels by this range."""
    return replace(data, images=replace(data.images, pixel_range=reading.pixel_range, bands=reading.bands))


def facts_of(config: DetectTrainConfig, initial: InitialWeights, data: CocoImages) -> DetectorFacts:
    """What is known of the detector before the mean of the pixels is."""
    channels = data.images.channels
    view = config.view
    jittered = view.views == "jitter"
    return DetectorFacts(
        encoder=initial.encoder,
        detection=config.detection,
        classes=list(data.images.classes),
        category_ids=data.category_ids,
        mean=[0.0] * channels,
        std=[1.0] * channels,
        min_size=min(view.jitter_size) if jittered else max(view.shortest_sides),
        max_size=max(view.jitter_size) if jittered else view.longest_side,
        pixel_range=data.images.pixel_range,
        bands=data.images.bands,
        norm_eps=initial.norm_eps,
        masks=data.segmentations is not None,
    )


def initial_detector(
    config: DetectTrainConfig, initial: InitialWeights, facts: DetectorFacts, world: World
) -> Detection:
    """The detector with the encoder's starting weights and new ones elsewhere."""
    torch.manual_seed(config.run.seed)
    method = build_detection(facts)
    lines = [f"weights: {initial.source}{initial.remedy}", *initial.fill(method.encoder.vit)]
    for line in lines if world.is_main else ():
        console.print(line)
    return method
