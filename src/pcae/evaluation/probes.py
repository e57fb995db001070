"""Trained probes: one classifier a learning rate, side by side on frozen features; training images choose the rate."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pcae.data.batches import epoch_order
from pcae.evaluation.frozen import Features
from pcae.settings.trained import ProbeTrainingConfig
from pcae.training.schedule import half_cosine

HELD_OUT = 0.1
"""Share of the training images on which the learning rate is chosen."""
VARIANCE_FLOOR = 1e-6
"""Added to variances, as MAE's normalisation does: a feature that never changes stays 0."""
Epochs = Callable[[range], Iterable[int]]
"""Epoch by epoch, and something shown of it on the way."""


@dataclass(frozen=True)
class Examples:
    """Features of images, and the class of each."""

    features: Features
    labels: Int[Tensor, " images"]


@dataclass(frozen=True)
class Probed:
    """Accuracy on the test images, and the class that each was taken for; the rate it was trained with, and the
    accuracies on held-out training images by rate that chose it."""

    accuracy: float
    guesses: tuple[int, ...]
    learning_rate: float
    selection: dict[float, float]
    seconds: float


def probe(
    build: Callable[[Sequence[float]], tuple[nn.Module, Optimizer]],
    train: Examples,
    test: Examples,
    rates: Sequence[float],
    config: ProbeTrainingConfig,
    follow: Epochs = iter,
) -> Probed:
    """Choose a learning rate on training images held out, train with it on all of them, score once on the test images.

    build: by rates, a module that gives logits (rates x batch x classes), where no rate touches another; its optimizer.
    Of rates that are equally good the first is chosen. Raises ValueError for a single training image.
    """
    started = time.perf_counter()
    fitted, held_out = hold_out(len(train.labels), config.seed)
    selection = score(fit(*build(rates), train, fitted, config, follow), train, held_out, config.batch_size)
    rate = rates[selection.index(max(selection))]
    final = fit(*build([rate]), train, torch.arange(len(train.labels)), config, follow)
    (guesses,) = guess(final, test, torch.arange(len(test.labels)), config.batch_size)
    accuracy = int((guesses == test.labels).sum()) / len(guesses)
    return Probed(
        accuracy, tuple(guesses.tolist()), rate, dict(zip(rates, selection, strict=True)), time.perf_counter() - started
    )


def hold_out(images: int, seed: int) -> tuple[Int[Tensor, " fitted"], Int[Tensor, " held_out"]]:
    """Places of the images to train on and of those to choose by, at least one of each."""
    if images < 2:
        raise ValueError(f"a trained probe needs two training images or more, got {images}")
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    count = max(1, int(images * HELD_OUT))
    return order[count:], order[:count]


def fit(
    module: nn.Module,
    optimizer: Optimizer,
    examples: Examples,
    rows: Int[Tensor, " rows"],
    config: ProbeTrainingConfig,
    follow: Epochs = iter,
) -> nn.Module:
    """Train on the examples at `rows`, every epoch in another order, with rates that fall along a half cosine."""
    device, size = next(module.parameters()).device, config.batch_size
    steps = config.epochs * math.ceil(len(rows) / size)
    schedule = LambdaLR(optimizer, lambda step: half_cosine(step, steps))
    for epoch in follow(range(config.epochs)):
        order = rows[epoch_order(len(rows), config.seed, epoch)]
        for some, features in zip(order.split(size), examples.features.batches(order, size), strict=True):
            logits = module(features.to(device))
            labels = examples.labels[some].to(device).repeat(len(logits))
            optimizer.zero_grad()
            (F.cross_entropy(logits.flatten(0, 1), labels, reduction="sum") / len(some)).backward()
            optimizer.step()
            schedule.step()
    return module


def score(module: nn.Module, examples: Examples, rows: Int[Tensor, " rows"], batch_size: int) -> list[float]:
    """The share of the examples at `rows` that each rate's classifier gets right."""
    right = guess(module, examples, rows, batch_size) == examples.labels[rows]
    return [count / len(rows) for count in right.sum(dim=1).tolist()]


@torch.no_grad()
def guess(
    module: nn.Module, examples: Examples, rows: Int[Tensor, " rows"], batch_size: int
) -> Int[Tensor, "rates rows"]:
    """The class that each rate's classifier takes each of the examples at `rows` for."""
    device = next(module.parameters()).device
    batches = examples.features.batches(rows, batch_size)
    return torch.cat([module(features.to(device)).argmax(dim=2).cpu() for features in batches], dim=1)


class Standardise(nn.Module):
    """Every feature to mean 0 and variance 1 over the images it was made from: batch normalisation without affine."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Features, batch_size: int) -> None:
        super().__init__()
        total, square, count = torch.zeros(()), torch.zeros(()), 0
        for batch in features.batches(torch.arange(len(features)), batch_size):
            values = batch.flatten(0, -2).cpu().double()
            total, square, count = total + values.sum(0), square + values.square().sum(0), count + len(values)
        mean = total / count
        variance = (square / count - mean.square()).clamp_min(0)
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", (variance + VARIANCE_FLOOR).rsqrt().float())

    def forward(self, features: Float[Tensor, "batch *dims"]) -> Float[Tensor, "batch *dims"]:
        """Standardise the last axis."""
        return (features - self.mean) * self.scale
