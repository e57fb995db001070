"""A run of fine-tuning: images, network and optimizer, and how they are looked at and kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import one_hot

from pcae.data.augment import Normalise
from pcae.data.balance import balanced_order
from pcae.data.batches import check_data_config, training_workers
from pcae.data.images import Images
from pcae.data.policy import AugmentedCrops, check_policy
from pcae.data.tables.several_labels import counts_of, targets_of
from pcae.data.transforms import say_replaced, transform_of, try_out
from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.evaluation.average_precision import Ranked
from pcae.inference.held_out import classify
from pcae.model.architecture import parts_of, with_options
from pcae.model.encoder import Encoder
from pcae.model.pretrained import Classifier, PretrainedFacts, build_vit
from pcae.model.reduced import reduce
from pcae.pictures.confusion import draw_confusion
from pcae.runs.dry_run import peak_of_step
from pcae.runs.finetuning_labels import check_labels_config, describe_labels, open_both, write_names
from pcae.runs.initial_weights import InitialWeights, load_weights
from pcae.runs.run import TrainingRun
from pcae.runs.task import Validated
from pcae.settings.bounds import check_bounds
from pcae.settings.network import EncoderConfig
from pcae.settings.trained import TRAINING_FREE, Rule
from pcae.settings.verbs.finetune import USUAL_EPOCHS, FinetuneConfig
from pcae.tasks.classification import (
    Classification,
    MultiLabel,
    check_classification,
    drop_schedule,
    layer_groups,
    rule_of,
    token_counts,
)
from pcae.tasks.dial import parse_drop_ratio
from pcae.tasks.freezing import CLASSIFIER, say_frozen
from pcae.tasks.losses import balanced_weights
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.logging import Journal
from pcae.training.loop import Batch, Watcher
from pcae.training.micro_batches import Labelled
from pcae.training.optimizer import check_optimizer_config
from pcae.training.plan import Plan, make_plan
from pcae.training.randomness import StepRandom
from pcae.training.run_folder import VALIDATION
from pcae.weights.files import CLASSIFIER_FILE, save_model

LAYER_DECAY = 0.65


@dataclass(kw_only=True)
class FineTuning(Validated[FinetuneConfig, Classification, Tally | Ranked]):
    """A run of fine-tuning, and what its classifier says of itself."""

    what = "fine-tuning"
    weights_file = CLASSIFIER_FILE
    best_by = ("top1",)
    best_name = "best_top1"
    facts: PretrainedFacts

    def batches(self) -> Iterator[tuple[Batch, StepRandom]]:
        """Augmented crops with their labels, or what the caller's transform makes of the images."""
        images, config, facts = self.run.images, self.run.config, self.facts
        size, seed, transform = facts.encoder.image_size, config.run.seed, transform_of(config.transform)
        mean, std = tuple(facts.mean), tuple(facts.std)
        crops = (
            AugmentedCrops(images, size, config.reading.crop_scale, seed, config.policy, mean, std)
            if transform is None
            else try_out(images, size, seed, transform)
        )
        return self.run.batches(crops, targets_of(images))

    def announce(self) -> None:
        """Print the plan, the network, what balances classes, and the ramp of the drop ratio."""
        self.run.describe_plan()
        for line in describe_labels(self.run.images, self.run.config.labels, self.run.method.class_weights):
            console.print(line)
        say_replaced(self.run.config.transform)
        schedule, encoder = self.run.method.schedule, Encoder(self.run.method.model.vit)
        millions = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
        console.print(
            f"{self.source}: {millions:.1f} M parameters, {encoder.grid[0]} x {encoder.grid[1]} tokens; "
            f"{len(self.classes)} classes, {len(self.test.images)} held-out images, looked at every {self.every} steps"
        )
        for line in say_frozen(self.run.method.model, self.run.config.task.freeze):
            console.print(line)
        if schedule.high:
            low, high = schedule.low, schedule.high
            to = f"{high:g}" if low == high else f"a ratio of {low:g}:{high:g}"
            console.print(
                f"drop ratio 0 for {schedule.start_steps} steps, then over {schedule.ramp_steps} steps up to {to}: "
                f"{' -> '.join(map(str, token_counts(encoder, self.facts.rule, high)))} tokens"
            )

    def watchers(self, journal: Journal) -> list[Watcher]:
        """The look at the held-out images, which are written down where they are split off."""
        run = self.run
        if run.world.is_main and run.config.labels.val_fraction is not None:
            write_names(run.config.out / VALIDATION, self.test.images)
        return super().watchers(journal)

    def measure(self, method: Classification) -> Tally | Ranked:
        """How good it is on the held-out images at the drop ratio that is trained; for a dial, the least one."""
        facts, world = self.facts, self.run.world
        normalise = Normalise(facts.mean, facts.std, facts.encoder.channels or 3).to(world.device)
        reduced = reduce(method.serving, facts.drop_ratios[0], **vars(facts.rule))
        workers = training_workers(self.run.config.reading, world.device)
        return classify(Classifier(reduced, normalise), self.test, facts, world, workers)

    def peak(self, batch: int) -> int:
        """Bytes at the peak of a step on so many made-up images, with no more tokens dropped than in any step to come;
        for a dry run, which trains no further."""
        run, device = self.run, self.run.world.device
        run.method.schedule = replace(run.method.schedule, high=run.method.schedule.low)
        images = torch.randn(batch, run.images.channels, *self.facts.encoder.image_size).to(device)
        labels = torch.arange(batch).to(device) % len(self.classes)
        labels = one_hot(labels, len(self.classes)).float() if self.facts.multi_label else labels
        return peak_of_step(run, Labelled(images, labels), batch, [images, labels])

    def write(self, path: Path, method: Classification) -> None:
        """Write the classifier."""
        save_model(path, method.serving, self.facts)

    def described(self) -> dict[str, Any]:
        """How tokens are dropped where it is measured."""
        return {"drop_ratio": self.facts.drop_ratios[0], **vars(self.facts.rule)}

    def conclude(self, done: dict[str, Any]) -> dict[str, Any]:
        """Write the classifier and draw the confusion matrix; returns the summary, with intervals and each class."""
        summary = super().conclude(done)
        assert self.last is not None
        if self.run.world.is_main and isinstance(self.last, Tally):
            draw_confusion(self.run.config.out / "confusion.png", self.last.confusion, self.classes)
        return summary | self.last.details(self.classes)


@dataclass(kw_only=True)
class FineTuningOfSeveralLabels(FineTuning):
    """The same for images that show any number of classes."""

    best_by = ("map",)
    best_name = "best_map"


def check(config: FinetuneConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
    check_bounds(config)
    check_data_config(config.reading)
    for name in ("stream", "lanes", "shuffle"):
        if getattr(config.reading, name):
            raise ValueError(f"{name} is for pretrain: streams have no labels; leave --{name} out")
    check_optimizer_config(config.optimizer)
    check_labels_config(config)
    task = config.task
    if task.freeze is not None and task.ema is not None and config.run.fully_shard:
        raise ValueError(
            f"ema {task.ema:g} shares the weights that freeze {task.freeze} leaves alone, which fully_shard cannot "
            "split twice; leave ema out"
        )
    transform_of(config.transform)


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
        labels=images.digest_of_labels(),
    )
    if config.labels.sampler == "balanced":
        run = replace(run, order=balanced_order(images.labels or ()))
    task = FineTuningOfSeveralLabels if config.labels.multi_label else FineTuning
    return task(
        run=run,
        test=BadFiles(held_out, config.reading.max_bad_files),
        classes=list(images.classes),
        source=initial.source,
        every=plan.steps_every(config.evaluate_every),
        facts=facts_of(run, initial),
    )


def open_task(config: FinetuneConfig, world: World) -> tuple[InitialWeights, Images, Images]:
    """What the run begins with; training and held-out images, read as the weights want them."""
    initial = world.main_first(lambda: load_weights(config))
    images, held_out = world.main_first(lambda: open_both(config, initial.encoder.channels, initial.reading))
    check_policy(config.policy, images.channels)
    if config.task.freeze == "encoder":
        initial = replace(initial, encoder=with_own_norm(initial, config.task.global_pool))
    return replace(initial, encoder=replace(initial.encoder, channels=images.channels)), images, held_out


def with_own_norm(initial: InitialWeights, pooling: str) -> EncoderConfig:
    """The network with the last norm of the weights, before average pooling, which timm would put a new one behind:
    that would stay as it begins in a frozen encoder. Raises ValueError where the norm of the weights stands behind the
    average, and another pooling is asked for."""
    encoder, loaded = initial.encoder, initial.loaded
    if loaded is None or initial.random or (pooling == "avg" and "norm.weight" not in loaded.tensors):
        return encoder
    if pooling != "avg":
        if "norm.weight" in loaded.tensors:
            return encoder
        raise ValueError(
            f"freeze encoder: the last norm of {initial.source} stands behind average pooling; use --global-pool avg"
        )
    name, options = parts_of(encoder.model)
    return replace(encoder, model=with_options(name, options | {"fc_norm": False}))


def build_method(
    config: FinetuneConfig, initial: InitialWeights, images: Images, plan: Plan, world: World
) -> Classification:
    """The network with its starting weights, a new classifier where its classes are others, and every step's drop
    ratio."""
    torch.manual_seed(config.run.seed)
    vit = build_vit(initial.encoder, len(images.classes), config.task.global_pool, initial.norm_eps)
    schedule = drop_schedule(config.task, plan.steps, plan.images / plan.batch_size)
    for ratio in schedule.ratios:  # one that leaves no tokens is refused before any work; so is one of the ramp
        token_counts(Encoder(vit), rule_of(config.task), ratio)
    lines = [f"weights: {initial.source}{initial.remedy}", *initial.fill(vit), *remarks_on(config, initial)]
    said = None if initial.facts is None else (initial.facts.classes, initial.facts.multi_label)
    if initial.random or said != (list(images.classes), config.labels.multi_label):
        for head in heads_of(vit):
            nn.init.trunc_normal_(head.weight, std=2e-5)  # as MAE does: the first predictions are even
            nn.init.zeros_(head.bias)
    for line in lines if world.is_main else ():
        console.print(line)
    weights = None if config.labels.class_weights is None else balanced_weights(counts_of(images), len(images))
    return (MultiLabel if config.labels.multi_label else Classification)(vit, config.task, schedule, weights)


def heads_of(vit: nn.Module) -> list[nn.Linear]:
    """The linear classifiers: one, or two where a distillation token has its own."""
    return [part for name, part in vit.named_children() if name in CLASSIFIER and isinstance(part, nn.Linear)]


def remarks_on(config: FinetuneConfig, initial: InitialWeights) -> list[str]:
    """What of the settings and the weights may not be meant to go together."""
    lines = []
    if initial.random and config.task.freeze is not None:
        lines.append("frozen weights that are random stay so: what is trained sees random features")
    dropped = max(initial.facts.drop_ratios) if initial.facts else 0.0
    if dropped and not max(parse_drop_ratio(config.task.drop_ratio)):
        lines.append(f"the weights drop tokens, up to {dropped:g}; this run drops none: --drop-ratio {dropped:g} does")
    return lines


def facts_of(run: TrainingRun[FinetuneConfig, Classification], initial: InitialWeights) -> PretrainedFacts:
    """What the classifier says of itself."""
    task, known = run.config.task, initial.facts
    low, high = parse_drop_ratio(task.drop_ratio)
    return PretrainedFacts(
        encoder=initial.encoder,
        mean=run.facts["mean"],
        std=run.facts["std"],
        pixel_range=run.images.pixel_range,
        bands=run.images.bands,
        classes=list(run.images.classes),
        global_pool=task.global_pool,
        drop_ratios=(low, high),
        rule=rule if (rule := rule_of(task)) != Rule() or high else TRAINING_FREE,
        crop_pct=run.config.crop_pct or (known.crop_pct if known else 1.0),
        norm_eps=initial.norm_eps,
        multi_label=run.config.labels.multi_label,
    )
