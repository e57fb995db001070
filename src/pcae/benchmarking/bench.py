"""A classifier on this machine: how fast each way to reduce it is there, and what it answers."""

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from pcae.benchmarking.candidates import WHOLE, Candidate
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import large_batch, ratios, seconds_of, take_turns
from pcae.model.criteria import most_dropped
from pcae.model.pretrained import Pretrained
from pcae.settings.trained import Rule
from pcae.settings.verbs.tune import TuneConfig
from pcae.weights.export.onnx_files import Onnx

STEP = 100
"""Drop ratios are hundredths."""
TURN = 0.25
"""Seconds that a turn of the whole model takes at least: what is shorter is mostly noise."""
AT_ONCE = 64
"""Images that are classified at once where only the answers count."""


class Bench:
    """A classifier, this machine, and some images.

    right: what the answers should be: labels, or the whole model's answers. folder: for files that are measured.
    """

    def __init__(
        self,
        model: Pretrained,
        config: TuneConfig,
        pixels: UInt8[Tensor, "images channels height width"],
        labels: Int[Tensor, " images"] | None,
        folder: Path,
    ) -> None:
        self.model, self.config, self.pixels, self.folder = model, config, pixels, folder
        self.batch = config.batch_size or (1 if config.ms else large_batch(model.device))
        self.answers: dict[Candidate, Tensor] = {}
        self.costs: dict[Candidate, float] = {}
        self.right = self.answered(WHOLE, len(pixels)) if labels is None else labels

    def classifier(self, candidate: Candidate) -> Any:
        """The classifier with the candidate's reduction."""
        return self.model.classifier(candidate.drop_ratio, **vars(candidate.rule))

    def gmacs(self, candidate: Candidate) -> float:
        """10^9 multiply-accumulates of an image."""
        if candidate not in self.costs:
            classifier = self.classifier(candidate)
            with torch.no_grad():
                found = measure(classifier, classifier.reduced.vit.blocks, self.pixels[:1].to(self.model.device))
            self.costs[candidate] = found.gmacs
        return self.costs[candidate]

    def allowed(self, candidate: Candidate) -> float:
        """How many times as fast multiply-accumulates allow it to be."""
        return self.gmacs(WHOLE) / self.gmacs(candidate)

    def most(self, rule: Rule) -> int:
        """The most that a rule can drop, in hundredths, if it can drop as much as every share below."""
        reduced = self.classifier(Candidate(rule, 0.0)).reduced
        return round(STEP * most_dropped(prod(self.model.encoder.grid), reduced.reduction, reduced.num_prefix_tokens))

    def at(self, rule: Rule, macs_allow: float) -> Candidate:
        """The rule at the least drop ratio whose multiply-accumulates allow so many times the speed, or at its most."""
        most = self.most(rule)
        too_slow = last(lambda step: self.allowed(Candidate(rule, step / STEP)) < macs_allow, most)
        return Candidate(rule, min(too_slow + 1, most) / STEP)

    def speeds(self, candidates: Iterable[Candidate], rounds: int) -> tuple[dict[Candidate, float], float]:
        """How many times as fast as the whole model each is, in turns of a quarter of a second at least; and the whole
        model's seconds for a batch."""
        few = self.pixels[torch.arange(self.batch) % len(self.pixels)].to(self.model.device)
        models = {one: self.runner(one) for one in (WHOLE, *candidates)}
        with torch.inference_mode():
            models[WHOLE](few)
            times = math.ceil(TURN / seconds_of(partial(models[WHOLE], few), few.device))
        seconds = take_turns({one: partial(repeated, run, times) for one, run in models.items()}, few, rounds)
        found = ratios(seconds, WHOLE)
        return {one: speed for one, speed in found.items() if one != WHOLE}, median(seconds[WHOLE]) / times

    def runner(self, candidate: Candidate) -> Callable[[Tensor], Tensor]:
        """What classifies uint8 images as it will be deployed."""
        if self.config.runtime == "onnxruntime":
            return self.session(candidate)
        return partial(classify, self.classifier(candidate), self.config.precision == "bf16")

    def session(self, candidate: Candidate) -> Callable[[Tensor], Tensor]:
        """The candidate as an ONNX file in ONNX Runtime."""
        model = Pretrained(self.model.encoder, replace(self.model.facts, rule=candidate.rule)).eval()
        place = self.folder / f"{'-'.join(map(str, candidate.said().values()))}.onnx"
        if not place.exists():
            Onnx().write(model, candidate.drop_ratio, place)
        reopened = Onnx().reopen(model, place)
        return lambda images: reopened(images)[0]

    def answered(self, candidate: Candidate, images: int) -> Int[Tensor, " images"]:
        """The most likely classes of the first so many images, by PyTorch."""
        known = self.answers.get(candidate, torch.empty(0, dtype=torch.long))
        if images <= len(known):
            return known[:images]
        parts = self.pixels[len(known) : images].split(AT_ONCE)
        run = partial(classify, self.classifier(candidate), self.config.precision == "bf16")
        with torch.inference_mode():
            found = [run(part.to(self.model.device)).argmax(dim=1).cpu() for part in parts]
        self.answers[candidate] = torch.cat([known, *found])
        return self.answers[candidate]

    def score(self, candidate: Candidate, images: int | None = None) -> float:
        """The share of the first images that it answers right."""
        images = images or len(self.pixels)
        return float((self.answered(candidate, images) == self.right[:images]).double().mean())

    def seen(self, candidate: Candidate) -> int:
        """How many images it has answered."""
        return len(self.answers.get(candidate, ()))


def classify(classifier: Any, half: bool, images: Tensor) -> Tensor:
    """Logits, matrix products in bfloat16 or not."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16) if half else nullcontext():
        return classifier(images)


def repeated(run: Callable[[Tensor], Tensor], times: int, images: Tensor) -> Tensor:
    """So many passes, one after the other."""
    return [run(images) for _ in range(times)][-1]


def last(holds: Callable[[int], bool], most: int) -> int:
    """The last whole number up to `most` for which something holds that holds from 0 on, up to some number."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
