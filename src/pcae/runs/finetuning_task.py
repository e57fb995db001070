"""What `pcae finetune` is told, and the parts that it is made of."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from timm.models.vision_transformer import VisionTransformer

from pcae.data.augment import Normalise
from pcae.data.batches import check_data_config, training_workers
from pcae.data.images import Images
from pcae.data.policy import check_policy
from pcae.data.tables.labelled import open_labelled
from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.inference.held_out import count_right
from pcae.model.encoder import Encoder
from pcae.model.pretrained import Classifier, PretrainedFacts, build_vit
from pcae.model.reduced import reduce
from pcae.model.reduction import Reduction, kept_counts
from pcae.runs.initial_network import Start, fill, starting_point
from pcae.runs.run import Parts, start_or_go_on
from pcae.settings.verbs.finetune import USUAL_EPOCHS, FinetuneConfig
from pcae.tasks.classification import Classification, check_classification, drop_schedule, layer_groups
from pcae.tasks.dial import parse_drop_ratio
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, plan
from pcae.training.sharding import shard
from pcae.weights.files import save_model

LAYER_DECAY = 0.65


@dataclass(frozen=True)
class Task:
    """A run's parts, and what they are measured on."""

    parts: Parts
    test: BadFiles
    facts: PretrainedFacts
    source: str

    @property
    def config(self) -> FinetuneConfig:
        """What was asked for."""
        return cast(FinetuneConfig, self.parts.config)

    @property
    def method(self) -> Classification:
        """What is trained."""
        return cast(Classification, self.parts.method)

    def measure(self, here: World) -> Tally:
        """Accuracy on the held-out images in float32, at the drop ratio that is trained; for a dial, the least one.

        Every process calls it.
        """
        normalise = Normalise(self.facts.mean, self.facts.std, self.facts.encoder.channels or 3).to(here.device)
        facts = self.facts
        reduced = reduce(self.serving(), facts.drop_ratios[0], facts.criterion, facts.pool_dropped)
        model = Classifier(reduced, normalise)
        workers = training_workers(self.config.reading, here.device)
        return count_right(model, self.test, self.facts, here, workers)

    def save(self, name: str, here: World) -> None:
        """Write the classifier. Every process calls it, the main one writes."""
        vit = self.serving()
        if here.is_main:
            save_model(self.config.out / name, vit, self.facts)

    def serving(self) -> VisionTransformer:
        """The network to evaluate and to keep, with all of its weights. Every process calls it."""
        return cast(Classification, self.parts.whole()).serving


def check(config: FinetuneConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
    check_data_config(config.reading)
    for name in ("stream", "lanes", "shuffle"):
        if getattr(config.reading, name):
            raise ValueError(f"{name} is for pretrain: streams have no labels; leave --{name} out")
    check_optimizer_config(config.optimizer)
    if config.crop_pct is not None and not 0 < config.crop_pct <= 1:
        raise ValueError(f"crop_pct must lie in (0, 1], got {config.crop_pct:g}")
    if not 0 < config.evaluate_every < float("inf"):
        raise ValueError(f"evaluate_every must be positive, got {config.evaluate_every:g}")


def build_task(config: FinetuneConfig, here: World) -> Task:
    """Images, network and optimizer, as they start or as the checkpoint to go on from has them."""
    check(config)
    start = here.main_first(lambda: starting_point(config.weights, config.from_scratch, config.network))
    config, start, images, test_images = open_task(config, start, here)
    numbers = plan(config.run, config.optimizer, len(images), here.size, USUAL_EPOCHS)
    check_classification(config.task, numbers.micro_batch)
    method = build_method(config, start, images, numbers, here)
    hollow = shard(method, here.device) if config.run.fully_shard else None
    method = method.to(here.device)
    optimizer = build_optimizer(method, config.optimizer, groups_of(config, start, method))
    classes, size = list(images.classes), start.encoder.image_size
    parts = start_or_go_on(config, images, numbers, method, optimizer, size, here, classes=classes)
    reading = replace(config.reading, mean=tuple(parts.facts["mean"]), std=tuple(parts.facts["std"]))
    facts = PretrainedFacts(
        encoder=start.encoder,
        mean=parts.facts["mean"],
        std=parts.facts["std"],
        pixel_range=images.pixel_range,
        classes=classes,
        global_pool=config.task.global_pool,
        drop_ratios=parse_drop_ratio(config.task.drop_ratio),
        pool_dropped=config.task.pool_dropped,
        criterion=config.task.criterion,
        crop_pct=config.crop_pct or (start.facts.crop_pct if start.facts else 1.0),
        norm_eps=start.facts.norm_eps if start.facts else None,
    )
    parts = replace(parts, config=replace(config, reading=reading), hollow=hollow)
    return Task(parts, BadFiles(test_images, config.reading.max_bad_files), facts, start.source)


def open_task(config: FinetuneConfig, start: Start, here: World) -> tuple[FinetuneConfig, Start, Images, Images]:
    """Training and held-out images, read as the weights want them; and what is then known of their pixels."""
    reading, facts = config.reading, start.facts
    if facts is not None and reading.mean is None:
        reading = replace(reading, mean=tuple(facts.mean), std=tuple(facts.std))
    if facts is not None and reading.pixel_range is None:
        reading = replace(reading, pixel_range=facts.pixel_range)
    images, test_images = here.main_first(
        lambda: open_labelled(config.data, start.encoder.channels, reading.pixel_range, config.validation)
    )
    check_policy(config.policy, images.channels)
    start = replace(start, encoder=replace(start.encoder, channels=images.channels))
    return replace(config, reading=reading), start, images, test_images


def build_method(config: FinetuneConfig, start: Start, images: Images, numbers: Plan, here: World) -> Classification:
    """The network with its starting weights and a new classifier, and the drop ratio of every step."""
    torch.manual_seed(config.run.seed)
    eps = start.facts.norm_eps if start.facts else None
    vit = build_vit(start.encoder, len(images.classes), config.task.global_pool, eps)
    schedule = drop_schedule(config.task, numbers.steps, numbers.images / numbers.batch_size)
    token_counts(Encoder(vit), schedule.high)  # a ratio that leaves no tokens is refused before any work
    report = fill(vit, start, list(images.classes))
    if here.is_main:
        for line in report:
            console.print(line)
    return Classification(vit, config.task, schedule)


def groups_of(config: FinetuneConfig, start: Start, method: Classification) -> list[dict]:
    """Parameter groups with layer decay, which random weights have none of by default."""
    usual = 1.0 if start.random else LAYER_DECAY
    decay = usual if config.task.layer_decay is None else config.task.layer_decay
    return layer_groups(method.model.vit, config.optimizer.weight_decay, decay)


def token_counts(encoder: Encoder, drop_ratio: float) -> list[int]:
    """Patch tokens of an image, and what is left of them after each stage."""
    tokens = encoder.grid[0] * encoder.grid[1]
    reduction = Reduction.for_finetuning(encoder.depth, drop_ratio=drop_ratio)
    return [tokens, *kept_counts(tokens, reduction).values()]
