"""What `pcae detect train` is told, and the parts that it is made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch

from pcae.data.augment import Normalise
from pcae.data.batches import check_data_config, training_workers
from pcae.data.coco.annotations import CocoImages, open_coco
from pcae.data.coco.views import CocoViews, check_view_config, view_loader
from pcae.data.files.decode import check_pixel_range
from pcae.data.unreadable import BadFiles
from pcae.inference.detection import Measured, measure
from pcae.model.encoder import build_encoder
from pcae.runs.batches import own_order
from pcae.runs.initial_network import InitialNetwork, load_network
from pcae.runs.roll_back import order_of
from pcae.runs.run import TrainingRun, start_or_resume
from pcae.settings.reading import DataConfig
from pcae.settings.verbs.detect import USUAL_EPOCHS, DetectTrainConfig
from pcae.tasks.detection import Annotated as Objects
from pcae.tasks.detection import Detection, detection_groups
from pcae.tasks.mask_rcnn import Inputs
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.micro_batches import draws
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import make_plan
from pcae.training.randomness import StepRandom
from pcae.training.sharding import shard
from pcae.weights.detectors import DetectorFacts, build_detection, save_detector
from pcae.weights.matching import fit

LAYER_DECAY = 0.7


@dataclass(frozen=True)
class Task:
    """A run's parts, what it is trained on, and what it is measured on."""

    run: TrainingRun
    data: CocoImages
    held_out: CocoImages
    test: BadFiles
    facts: DetectorFacts
    source: str

    @property
    def config(self) -> DetectTrainConfig:
        """What was asked for."""
        return cast(DetectTrainConfig, self.run.config)

    @property
    def method(self) -> Detection:
        """What is trained."""
        return cast(Detection, self.run.method)

    def measure(self, world: World) -> Measured:
        """COCO's figures on the held-out images in float32. Every process calls it."""
        serving = cast(Detection, self.run.whole()).eval()
        workers = training_workers(self.config.reading, world.device)
        measured = measure(serving, self.held_out, self.test, world, workers)
        self.method.train()
        return measured

    def save(self, name: str, world: World) -> None:
        """Write the detector. Every process calls it, the main one writes."""
        serving = cast(Detection, self.run.whole())
        if world.is_main:
            save_detector(self.config.out / name, serving, self.facts)


def check(config: DetectTrainConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
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


def build_task(config: DetectTrainConfig, world: World) -> Task:
    """Images, detector and optimizer, as they start or as the checkpoint to go on from has them."""
    check(config)
    initial = world.main_first(lambda: load_network(config.weights, config.from_scratch, config.network))
    config = with_statistics(config, initial)
    data, held_out = world.main_first(lambda: open_data(config, initial))
    plan = make_plan(config.run, config.optimizer, len(data), world.size, USUAL_EPOCHS)
    facts = facts_of(config, initial, data)
    method = initial_detector(config, initial, facts, world)
    meta_copy = shard(method, world.device) if config.run.fully_shard else None
    optimizer = build_optimizer(method, config.optimizer, groups_of(config, initial, method))
    size = initial.encoder.image_size
    about = {"classes": facts.classes, "objects": len(data.labels)}
    run = start_or_resume(config, data.images, plan, method, optimizer, size, world, **about)
    mean, std = run.facts["mean"], run.facts["std"]
    for detector in (method, meta_copy):
        if detector is not None:
            normalise_by(cast(Detection, detector), mean, std)
    reading = replace(config.reading, mean=tuple(mean), std=tuple(std))
    run = replace(run, config=replace(config, reading=reading), meta_copy=meta_copy)
    test = BadFiles(held_out.images, config.reading.max_bad_files)
    return Task(run, data, held_out, test, replace(facts, mean=mean, std=std), initial.source)


def normalise_by(detection: Detection, mean: list[float], std: list[float]) -> None:
    """Have a detector normalise pixels by what is now known of them. Raises ValueError for what cannot be."""
    Normalise(mean, std, detection.encoder.embedding.proj.in_channels)
    inputs = cast(Inputs, detection.network.transform)
    inputs.image_mean, inputs.image_std = mean, std


def with_statistics(config: DetectTrainConfig, initial: InitialNetwork) -> DetectTrainConfig:
    """The settings, with what the weights know of pixels where nothing else is asked for."""
    reading, known = config.reading, initial.facts
    if known is not None and reading.mean is None:
        reading = replace(reading, mean=tuple(known.mean), std=tuple(known.std))
    if known is not None and reading.pixel_range is None:
        reading = replace(reading, pixel_range=known.pixel_range)
    return replace(config, reading=reading)


def open_data(config: DetectTrainConfig, initial: InitialNetwork) -> tuple[CocoImages, CocoImages]:
    """Training and held-out images with the same labels. Raises ValueError with the remedy."""
    channels = 3 if initial.encoder.channels is None else initial.encoder.channels
    most = config.max_bad_annotations
    data = open_coco(config.data, "train", config.images, channels, most)
    if data.segmentations is None:
        raise ValueError(
            f"annotations {data.annotations!r} have boxes only; Mask R-CNN learns masks, too: annotations need a "
            "segmentation"
        )
    other = config.validation or config.data
    held_out = open_coco(other, "test", config.validation_images or config.images, channels, most)
    if config.validation is None and held_out.annotations == data.annotations:
        raise ValueError(
            f"data {config.data!r} has no held-out images; add --validation OTHER.json, or the same file to see how "
            "well it is learned by heart"
        )
    if held_out.crowds.all():
        raise ValueError(f"annotations {held_out.annotations!r} have no object to find; give other held-out images")
    shown = data if config.empty_images else data.with_objects()
    if not len(shown):
        raise ValueError(f"annotations {data.annotations!r} have crowds only; nothing can be learned from them")
    pixel_range = config.reading.pixel_range
    return with_range(shown, pixel_range), with_range(held_out.labelled_as(data.images.classes), pixel_range)


def with_range(data: CocoImages, pixel_range: tuple[float, float] | None) -> CocoImages:
    """The images, whose 16-bit and float pixels are read by this range."""
    return replace(data, images=replace(data.images, pixel_range=pixel_range))


def facts_of(config: DetectTrainConfig, initial: InitialNetwork, data: CocoImages) -> DetectorFacts:
    """What is known of the detector before the mean of the pixels is."""
    channels = data.images.channels
    view = config.view
    jittered = view.views == "jitter"
    return DetectorFacts(
        encoder=replace(initial.encoder, channels=channels),
        detection=config.detection,
        classes=list(data.images.classes),
        category_ids=data.category_ids,
        mean=[0.0] * channels,
        std=[1.0] * channels,
        min_size=min(view.jitter_size) if jittered else max(view.shortest_sides),
        max_size=max(view.jitter_size) if jittered else view.longest_side,
        pixel_range=config.reading.pixel_range,
        norm_eps=initial.facts.norm_eps if initial.facts else None,
    )


def initial_detector(
    config: DetectTrainConfig, initial: InitialNetwork, facts: DetectorFacts, world: World
) -> Detection:
    """The detector on its device, with the encoder's starting weights and new ones elsewhere."""
    torch.manual_seed(config.run.seed)
    method = build_detection(facts)
    vit = method.encoder.vit
    if initial.found is None or initial.random:
        fit(vit, build_encoder(facts.encoder).vit.state_dict())
    else:
        match = fit(vit, initial.found.tensors, initial.found.grid)
        for line in (*match.describe(), *initial.found.remarks) if world.is_main else ():
            console.print(line)
    return method.to(world.device)


def groups_of(config: DetectTrainConfig, initial: InitialNetwork, method: Detection) -> list[dict]:
    """Parameter groups with layer decay, which random weights have none of by default."""
    usual = 1.0 if initial.random else LAYER_DECAY
    decay = usual if config.detection.layer_decay is None else config.detection.layer_decay
    return detection_groups(method, config.optimizer.weight_decay, decay)


def views_of(task: Task, world: World) -> Iterator[tuple[Objects, StepRandom]]:
    """This process's part of the run's batches, from the step to go on from, and their draws."""
    run, config, plan = task.run, task.config, task.run.plan
    seed, accumulation, start = config.run.seed, config.run.accumulation, run.progress.step
    order, first_part = order_of(seed, run.facts["roll_backs"]), world.rank * accumulation
    images = own_order(len(task.data), plan, world, seed if order is None else order, start, accumulation)
    workers = training_workers(config.reading, world.device)
    loader = view_loader(CocoViews(task.data, config.view, seed), images, workers, world.device)
    own = draws(plan, seed=seed, start=start, first_part=first_part, accumulation=accumulation, device=world.device)
    for batch, random in zip(loader, own, strict=False):
        run.bad_files.add(batch.failed)
        there = batch.to(world.device)
        yield Objects(there.images, there.targets), random
