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
from pcae.runs.initial_network import InitialNetwork, fill_classifier, load_network
from pcae.runs.run import TrainingRun, start_or_resume
from pcae.settings.verbs.finetune import USUAL_EPOCHS, FinetuneConfig
from pcae.tasks.classification import Classification, check_classification, drop_schedule, layer_groups
from pcae.tasks.dial import parse_drop_ratio
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, make_plan
from pcae.training.sharding import shard
from pcae.weights.files import save_model

LAYER_DECAY = 0.65


@dataclass(frozen=True)
class Task:
    """A run's parts, and what they are measured on."""

    run: TrainingRun
    test: BadFiles
    facts: PretrainedFacts
    source: str

    @property
    def config(self) -> FinetuneConfig:
        """What was asked for."""
        return cast(FinetuneConfig, self.run.config)

    @property
    def method(self) -> Classification:
        """What is trained."""
        return cast(Classification, self.run.method)

    def measure(self, world: World) -> Tally:
        """Accuracy on the held-out images in float32, at the drop ratio that is trained; for a dial, the least one.

        Every process calls it.
        """
        normalise = Normalise(self.facts.mean, self.facts.std, self.facts.encoder.channels or 3).to(world.device)
        facts = self.facts
        reduced = reduce(self.serving(), facts.drop_ratios[0], facts.criterion, facts.pool_dropped)
        model = Classifier(reduced, normalise)
        workers = training_workers(self.config.reading, world.device)
        return count_right(model, self.test, self.facts, world, workers)

    def save(self, name: str, world: World) -> None:
        """Write the classifier. Every process calls it, the main one writes."""
        vit = self.serving()
        if world.is_main:
            save_model(self.config.out / name, vit, self.facts)

    def serving(self) -> VisionTransformer:
        """The network to evaluate and to keep, with all of its weights. Every process calls it."""
        return cast(Classification, self.run.whole()).serving


def check(config: FinetuneConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
    check_data_config(config.reading)
    for name in ("stream", "lanes", "shuffle"):
        if getattr(config.reading, name):
            raise ValueError(f"{name} is for pretrain: streams have no labels; leave --{name} out")
    check_optimizer_config(config.optimizer)


def build_task(config: FinetuneConfig, world: World) -> Task:
    """Images, network and optimizer, as they start or as the checkpoint to go on from has them."""
    check(config)
    initial = world.main_first(lambda: load_network(config.weights, config.from_scratch, config.network))
    config, initial, images, test_images = open_task(config, initial, world)
    plan = make_plan(config.run, config.optimizer, len(images), world.size, USUAL_EPOCHS)
    check_classification(config.task, plan.micro_batch)
    method = build_method(config, initial, images, plan, world)
    meta_copy = shard(method, world.device) if config.run.fully_shard else None
    method = method.to(world.device)
    optimizer = build_optimizer(method, config.optimizer, groups_of(config, initial, method))
    classes, size = list(images.classes), initial.encoder.image_size
    run = start_or_resume(config, images, plan, method, optimizer, size, world, classes=classes)
    reading = replace(config.reading, mean=tuple(run.facts["mean"]), std=tuple(run.facts["std"]))
    facts = PretrainedFacts(
        encoder=initial.encoder,
        mean=run.facts["mean"],
        std=run.facts["std"],
        pixel_range=images.pixel_range,
        classes=classes,
        global_pool=config.task.global_pool,
        drop_ratios=parse_drop_ratio(config.task.drop_ratio),
        pool_dropped=config.task.pool_dropped,
        criterion=config.task.criterion,
        crop_pct=config.crop_pct or (initial.facts.crop_pct if initial.facts else 1.0),
        norm_eps=initial.facts.norm_eps if initial.facts else None,
    )
    run = replace(run, config=replace(config, reading=reading), meta_copy=meta_copy)
    return Task(run, BadFiles(test_images, config.reading.max_bad_files), facts, initial.source)


def open_task(
    config: FinetuneConfig, initial: InitialNetwork, world: World
) -> tuple[FinetuneConfig, InitialNetwork, Images, Images]:
    """Training and held-out images, read as the weights want them; and what is then known of their pixels."""
    reading, facts = config.reading, initial.facts
    if facts is not None and reading.mean is None:
        reading = replace(reading, mean=tuple(facts.mean), std=tuple(facts.std))
    if facts is not None and reading.pixel_range is None:
        reading = replace(reading, pixel_range=facts.pixel_range)
    images, test_images = world.main_first(
        lambda: open_labelled(config.data, initial.encoder.channels, reading.pixel_range, config.validation)
    )
    check_policy(config.policy, images.channels)
    initial = replace(initial, encoder=replace(initial.encoder, channels=images.channels))
    return replace(config, reading=reading), initial, images, test_images


def build_method(
    config: FinetuneConfig, initial: InitialNetwork, images: Images, plan: Plan, world: World
) -> Classification:
    """The network with its starting weights and a new classifier, and the drop ratio of every step."""
    torch.manual_seed(config.run.seed)
    eps = initial.facts.norm_eps if initial.facts else None
    vit = build_vit(initial.encoder, len(images.classes), config.task.global_pool, eps)
    schedule = drop_schedule(config.task, plan.steps, plan.images / plan.batch_size)
    token_counts(Encoder(vit), schedule.high)  # a ratio that leaves no tokens is refused before any work
    report = fill_classifier(vit, initial, list(images.classes))
    if world.is_main:
        for line in report:
            console.print(line)
    return Classification(vit, config.task, schedule)


def groups_of(config: FinetuneConfig, initial: InitialNetwork, method: Classification) -> list[dict]:
    """Parameter groups with layer decay, which random weights have none of by default."""
    usual = 1.0 if initial.random else LAYER_DECAY
    decay = usual if config.task.layer_decay is None else config.task.layer_decay
    return layer_groups(method.model.vit, config.optimizer.weight_decay, decay)


def token_counts(encoder: Encoder, drop_ratio: float) -> list[int]:
    """Patch tokens of an image, and what is left of them after each stage."""
    tokens = encoder.grid[0] * encoder.grid[1]
    reduction = Reduction.for_finetuning(encoder.depth, drop_ratio=drop_ratio)
    return [tokens, *kept_counts(tokens, reduction).values()]
