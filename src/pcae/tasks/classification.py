"""Fine-tuning a Vision Transformer to classify images, with token reduction."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int
from timm.data.mixup import Mixup
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from pcae.model.backbones import ViT
from pcae.model.criteria import inference_criterion, named_criterion, stage_counts
from pcae.model.encoder import Encoder
from pcae.model.reduced import fold_of, reduce
from pcae.model.reduction import Reduction
from pcae.model.tokens import upcast
from pcae.settings.bounds import check_bounds
from pcae.settings.tasks import ClassificationConfig
from pcae.settings.trained import Rule
from pcae.tasks.dial import DropSchedule, parse_drop_ratio
from pcae.tasks.drop_path import draw_paths, install_drop_path
from pcae.tasks.freezing import freeze, frozen_parameters, keep_still
from pcae.tasks.losses import binary_cross_entropy, cross_entropy, smoothed
from pcae.training.average import follow
from pcae.training.loop import Progress, StepResult
from pcae.training.micro_batches import Labelled
from pcae.training.randomness import StepRandom, seed_of


def check_classification(config: ClassificationConfig, micro_batch: int) -> None:
    """Raise ValueError for values that cannot be, or do not fit the size of a micro-batch."""
    parse_drop_ratio(config.drop_ratio)
    check_bounds(config)
    if rule_of(config).fold == "pool" and config.global_pool != "avg":
        raise ValueError(f"fold pool (pool_dropped) needs --global-pool avg, got {config.global_pool!r}")
    if (config.mixup or config.cutmix) and micro_batch % 2:
        raise ValueError(
            f"mixup and cutmix need an even number of images in a micro-batch, got {micro_batch}; change --batch-size "
            "or --accumulation, or use --mixup 0 --cutmix 0"
        )


def rule_of(config: ClassificationConfig) -> Rule:
    """How a task's tokens are dropped. Raises ValueError for two folds."""
    fold = fold_of(config.fold, config.pool_dropped)
    return Rule(criterion=config.criterion, fold=fold, after=config.reduce_after, before_mlp=config.before_mlp)


def token_counts(encoder: Encoder, rule: Rule, drop_ratio: float) -> list[int]:
    """Patch tokens of an image, and what is left of them after each stage. Raises ValueError where that cannot be."""
    criterion = inference_criterion(rule.criterion)
    reduction = Reduction.for_finetuning(encoder.depth, drop_ratio=drop_ratio, after=rule.after, criterion=criterion)
    return stage_counts(prod(encoder.grid), reduction, encoder.vit.num_prefix_tokens)


def drop_schedule(config: ClassificationConfig, steps: int, steps_per_epoch: float) -> DropSchedule:
    """The drop ratio of every step of a run."""
    low, high = parse_drop_ratio(config.drop_ratio)
    start, ramp = config.drop_start_epochs, config.drop_ramp_epochs
    return DropSchedule(
        low=low,
        high=high,
        start_steps=steps // 10 if start is None else round(start * steps_per_epoch),
        ramp_steps=steps // 4 if ramp is None else round(ramp * steps_per_epoch),
        ramp=config.drop_ramp,
    )


class Classification(nn.Module):
    """Cross-entropy of a ViT that drops redundant tokens after blocks 0, 7 and 10 of 12 (section 3.4).

    The means of dropped tokens stay in the sequence and leave before pooling, or what else the settings' fold says.
    `vit` is trained, but for what `freeze` names of it; `serving` is what is evaluated and kept: `vit`, or its moving
    average, which has the same frozen weights, not copies of them. class_weights: what images of each class count in
    the loss.
    """

    def __init__(
        self,
        vit: ViT,
        config: ClassificationConfig,
        schedule: DropSchedule,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config, self.schedule = config, schedule
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.rule = rule_of(config)
        self.model = reduce(vit, 0.0, **vars(self.rule))
        self.frozen = freeze(vit, config.freeze)
        self.average = average_of(vit) if config.ema is not None else None
        self.paths = install_drop_path(vit, config.drop_path) if config.drop_path else []
        self.mixup = self.mixer(config.label_smoothing, vit.num_classes)

    def mixer(self, label_smoothing: float, classes: int) -> Mixup:
        """What blends images of so many classes, and their labels."""
        mixup, cutmix = self.config.mixup, self.config.cutmix
        return Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=label_smoothing, num_classes=classes)

    def train(self, mode: bool = True) -> "Classification":
        """Training mode, but for what is frozen, or evaluation mode."""
        super().train(mode)
        keep_still(self.frozen)
        return self

    @property
    def serving(self) -> ViT:
        """The network to evaluate and to keep."""
        return self.model.vit if self.average is None else self.average

    def forward(self, batch: Labelled, random: StepRandom) -> StepResult:
        """The loss of normalised images and their labels."""
        ratio = self.schedule.at(random.step, random.seed)
        self.model.reduction = self.reduction(ratio, random)
        images, targets = self.mix(batch, random)
        draw_paths(self.paths, random.uniform("drop-path", len(self.paths)))
        logits = self.model(images)
        loss = self.loss(upcast(logits), targets)
        return StepResult(loss, {"drop_ratio": torch.full_like(loss.detach(), ratio)})

    def reduction(self, ratio: float, random: StepRandom) -> Reduction:
        """A step's reduction; random criteria draw with it."""
        vit = self.model.vit
        criterion = named_criterion(self.config.criterion, lambda: random.uniform("drop", prod(Encoder(vit).grid)))
        return replace(self.model.reduction, keep=1 - ratio, criterion=criterion)

    @property
    def mixes(self) -> bool:
        """Whether images are blended."""
        return self.config.mixup > 0 or self.config.cutmix > 0

    def mix(self, batch: Labelled, random: StepRandom) -> tuple[Float[Tensor, "batch channels height width"], Tensor]:
        """Each row blended with its neighbour in the global batch, by timm's Mixup; and the targets."""
        if not self.mixes:
            return batch.images, self.targets(batch.labels)
        order = mirrored_pairs(len(batch.labels)).to(batch.device)
        with numpy_seeded(seed_of(random.seed, random.step, "mixup")):
            images, targets = self.blend(batch.images[order], batch.labels[order])
        back = order.argsort()
        return images[back], targets[back]

    def targets(self, labels: Tensor) -> Tensor:
        """The targets of images that are not blended."""
        return labels

    def blend(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A batch blended with its mirror image, and the targets, which are smooth already."""
        return self.mixup(images, labels)

    def loss(self, logits: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """The cross-entropy of targets as `mix` has them."""
        smoothing = 0.0 if self.mixes else self.config.label_smoothing
        return cross_entropy(logits, targets, smoothing, self.class_weights)

    def after_step(self, progress: Progress) -> None:
        """Move the average, if the optimizer's step was taken."""
        if self.average is not None and self.config.ema is not None:
            momentum = min(self.config.ema, (1 + progress.step) / (10 + progress.step))
            follow(self.average, self.model.vit, momentum, progress.taken)


def average_of(vit: ViT) -> ViT:
    """A copy that is not trained, in evaluation mode; weights that are frozen are shared with it."""
    shared = {id(parameter): parameter for parameter in frozen_parameters(vit)}
    return copy.deepcopy(vit, shared).requires_grad_(False).eval()


class MultiLabel(Classification):
    """The same for images that show any number of classes: labels are rows of 0 and 1, and the loss is the binary
    cross-entropy. Blended images have the labels of both, by their shares."""

    def mixer(self, label_smoothing: float, classes: int) -> Mixup:
        """What blends images, and says the share of each; `targets` smooths labels."""
        return super().mixer(0.0, 2)

    def targets(self, labels: Tensor) -> Tensor:
        """Smoothed labels."""
        return smoothed(labels, self.config.label_smoothing)

    def blend(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A batch blended with its mirror image, and the labels of both by their shares.

        timm's Mixup is told one of two classes an image, one for each half of the batch: what the target of an image
        says of its own half is its share.
        """
        half = (torch.arange(len(labels), device=labels.device) < len(labels) // 2).long()
        images, shares = self.mixup(images, half)
        own, targets = shares.gather(1, half[:, None]).to(labels.dtype), self.targets(labels)
        return images, own * targets + (1 - own) * targets.flip(0)

    def loss(self, logits: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """The binary cross-entropy of targets as `mix` has them."""
        return binary_cross_entropy(logits, targets, self.class_weights)


def mirrored_pairs(rows: int) -> Int[Tensor, " rows"]:
    """An order in which rows 2i and 2i + 1 stand as far from the start as from the end: timm mixes a batch with its
    mirror image, and neighbours are in the same micro-batch for any number of processes."""
    places = torch.arange(rows)
    return torch.cat([places[0::2], places[1::2].flip(0)])


@contextmanager
def numpy_seeded(seed: int) -> Iterator[None]:
    """numpy's global generator, which timm's Mixup draws from, seeded; then as it was."""
    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)


def layer_groups(vit: ViT, weight_decay: float, layer_decay: float) -> list[dict]:
    """Parameter groups with `lr_scale` falling from the head to the patch embedding, as in BEiT and MAE, by timm.

    Positions, class and register tokens, norms and biases are not decayed.
    """
    free = {*vit.no_weight_decay(), "reg_token"}
    return param_groups_layer_decay(vit, weight_decay, no_weight_decay_list=free, layer_decay=layer_decay)
