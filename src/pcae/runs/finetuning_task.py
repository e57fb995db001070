"""A run of fine-tuning: images, network and optimizer, and how they are looked at and kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pcae.data.augment import Normalise
from pcae.data.batches import check_data_config, training_workers
from pcae.data.images import Images
from pcae.data.policy import AugmentedCrops, check_policy
from pcae.data.tables.labelled import open_labelled
from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.inference.held_out import count_right
from pcae.model.encoder import Encoder
from pcae.model.pretrained import Classifier, PretrainedFacts, build_vit
from pcae.model.reduced import reduce
from pcae.model.reduction import Reduction, kept_counts
from pcae.pictures.confusion import draw_confusion
from pcae.runs.initial_weights import InitialWeights, load_weights
from pcae.runs.run import TrainingRun
from pcae.runs.task import Validated
from pcae.settings.bounds import check_bounds
from pcae.settings.verbs.finetune import USUAL_EPOCHS, FinetuneConfig
from pcae.tasks.classification import Classification, check_classification, drop_schedule, layer_groups
from pcae.tasks.dial import parse_drop_ratio
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.loop import Batch
from pcae.training.optimizer import check_optimizer_config
from pcae.training.plan import Plan, make_plan
from pcae.training.randomness import StepRandom
from pcae.weights.files import CLASSIFIER_FILE, save_model

LAYER_DECAY = 0.65


@dataclass(kw_only=True)
class FineTuning(Validated[FinetuneConfig, Classification, Tally]):
    """A run of fine-tuning, and what its classifier says of itself."""

    what = "fine-tuning"
    weights_file = CLASSIFIER_FILE
    best_by = ("top1",)
    best_name = "best_top1"
    facts: PretrainedFacts

    def batches(self) -> Iterator[tuple[Batch, StepRandom]]:
        """Augmented crops with their labels."""
        run, facts = self.run, self.facts
        crops = AugmentedCrops(
            run.images,
            facts.encoder.image_size,
            run.config.reading.crop_scale,
            run.config.run.seed,
            run.config.policy,
            tuple(facts.mean),
            tuple(facts.std),
        )
        return run.batches(crops, torch.tensor(run.images.labels))

    def announce(self) -> None:
        """Print the plan, the network and the ramp of the drop ratio."""
        self.run.describe_plan()
        schedule, encoder = self.run.method.schedule, Encoder(self.run.method.model.vit)
        millions = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
        console.print(
            f"{self.source}: {millions:.1f} M parameters, {encoder.grid[0]} x {encoder.grid[1]} tokens; "
            f"{len(self.classes)} classes, {len(self.test.images)} held-out images"
        )
        if schedule.high:
            low, high = schedule.low, schedule.high
            to = f"{high:g}" if low == high else f"a ratio of {low:g}:{high:g}"
            console.print(
                f"drop ratio 0 for {schedule.start_steps} steps, then over {schedule.ramp_steps} steps up to {to}: "
                f"{' -> '.join(map(str, token_counts(encoder, high)))} tokens"
            )

    def measure(self, method: Classification) -> Tally:
        """Accuracy on the held-out images at the drop ratio that is trained; for a dial, the least one."""
        facts, world = self.facts, self.run.world
        normalise = Normalise(facts.mean, facts.std, facts.encoder.channels or 3).to(world.device)
        reduced = reduce(method.serving, facts.drop_ratios[0], facts.criterion, facts.pool_dropped)
        workers = training_workers(self.run.config.reading, world.device)
        return count_right(Classifier(reduced, normalise), self.test, facts, world, workers)

    def write(self, path: Path, method: Classification) -> None:
        """Write the classifier."""
        save_model(path, method.serving, self.facts)

    def described(self) -> dict[str, Any]:
        """How tokens are dropped where it is measured."""
        facts = self.facts
        return {
            "drop_ratio": facts.drop_ratios[0],
            "criterion": facts.criterion,
            "pool_dropped": facts.pool_dropped,
        }

    def conclude(self, done: dict[str, Any]) -> dict[str, Any]:
        """Write the classifier and draw the confusion matrix; returns the summary."""
        summary = super().conclude(done)
        if self.run.world.is_main and self.last is not None:
            draw_confusion(self.run.config.out / "confusion.png", self.last.confusion, self.classes)
        return summary


def check(config: FinetuneConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
    check_bounds(config)
    check_data_config(config.reading)
    for name in ("stream", "lanes", "shuffle"):
        if getattr(config.reading, name):
            raise ValueError(f"{name} is for pretrain: streams have no labels; leave --{name} out")
    check_optimizer_config(config.optimizer)


def build_task(config: FinetuneConfig, world: World) -> FineTuning:
    """Images, network and optimizer, as they start or as the checkpoint to go on from has them."""
    check(config)
    initial, images, held_out = open_task(config, world)
    config = replace(config, reading=initial.reading)
    plan = make_plan(config.run, config.optimizer, len(images), world.size, USUAL_EPOCHS)
    check_classification(config.task, plan.micro_batch)
    method = build_method(config, initial, images, plan, world)
    decay = initial.layer_decay(config.task.layer_decay, LAYER_DECAY)
    run = TrainingRun.start_or_resume(
        config,
        images,
        plan,
        method,
        initial.encoder.image_size,
        world,
        groups=lambda: layer_groups(method.model.vit, config.optimizer.weight_decay, decay),
        classes=list(images.classes),
    )
    return FineTuning(
        run=run,
        test=BadFiles(held_out, config.reading.max_bad_files),
        classes=list(images.classes),
        source=initial.source,
        every=plan.steps_of(config.evaluate_every),
        facts=facts_of(run, initial),
    )


def open_task(config: FinetuneConfig, world: World) -> tuple[InitialWeights, Images, Images]:
    """What the run begins with; training and held-out images, read as the weights want them."""
    initial = world.main_first(
        lambda: load_weights(config.weights, config.from_scratch, config.network, config.reading)
    )
    channels, pixel_range = initial.encoder.channels, initial.reading.pixel_range
    images, held_out = world.main_first(lambda: open_labelled(config.data, channels, pixel_range, config.validation))
    check_policy(config.policy, images.channels)
    return replace(initial, encoder=replace(initial.encoder, channels=images.channels)), images, held_out


def build_method(
    config: FinetuneConfig, initial: InitialWeights, images: Images, plan: Plan, world: World
) -> Classification:
    """The network with its starting weights, a new classifier where its classes are others, and every step's drop
    ratio."""
    torch.manual_seed(config.run.seed)
    vit = build_vit(initial.encoder, len(images.classes), config.task.global_pool, initial.norm_eps)
    schedule = drop_schedule(config.task, plan.steps, plan.images / plan.batch_size)
    token_counts(Encoder(vit), schedule.high)  # a ratio that leaves no tokens is refused before any work
    lines = initial.fill(vit)
    if initial.random or initial.facts is None or initial.facts.classes != list(images.classes):
        head = cast(nn.Linear, vit.head)
        nn.init.trunc_normal_(head.weight, std=2e-5)  # as MAE does: the first predictions are even
        nn.init.zeros_(head.bias)
    for line in lines if world.is_main else ():
        console.print(line)
    return Classification(vit, config.task, schedule)


def facts_of(run: TrainingRun[FinetuneConfig, Classification], initial: InitialWeights) -> PretrainedFacts:
    """What the classifier says of itself."""
    task, known = run.config.task, initial.facts
    return PretrainedFacts(
        encoder=initial.encoder,
        mean=run.facts["mean"],
        std=run.facts["std"],
        pixel_range=run.images.pixel_range,
        classes=list(run.images.classes),
        global_pool=task.global_pool,
        drop_ratios=parse_drop_ratio(task.drop_ratio),
        pool_dropped=task.pool_dropped,
        criterion=task.criterion,
        crop_pct=run.config.crop_pct or (known.crop_pct if known else 1.0),
        norm_eps=initial.norm_eps,
    )


def token_counts(encoder: Encoder, drop_ratio: float) -> list[int]:
    """Patch tokens of an image, and what is left of them after each stage."""
    tokens = encoder.grid[0] * encoder.grid[1]
    reduction = Reduction.for_finetuning(encoder.depth, drop_ratio=drop_ratio)
    return [tokens, *kept_counts(tokens, reduction).values()]
