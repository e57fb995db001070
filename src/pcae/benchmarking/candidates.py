"""Reductions that a classifier may be given, and what each is worth on this machine: its speed and its answers."""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import ratios, seconds_of, take_turns
from pcae.model.pretrained import Pretrained
from pcae.settings.choices import CriterionName, FoldName
from pcae.settings.trained import Rule
from pcae.settings.verbs.tune import TuneConfig
from pcae.tasks.classification import token_counts
from pcae.weights.export.onnx_files import Onnx

STEP = 100
"""Drop ratios are hundredths."""
TURN = 0.25
"""Seconds that a turn of the whole model takes at least: what is shorter is mostly noise."""
CRITERIA: tuple[CriterionName, ...] = ("mean-similarity", "bipartite", "token-importance")
WHOLE = "whole"
Pixels = UInt8[Tensor, "images channels height width"]


@dataclass(frozen=True, order=True)
class Candidate:
    """A rule at a drop ratio."""

    rule: Rule = field(compare=False)
    drop_ratio: float

    def __hash__(self) -> int:
        return hash((self.rule, self.drop_ratio))


def rules_for(model: Pretrained, criteria: Sequence[CriterionName] | None) -> list[Rule]:
    """Every criterion with what may become of dropped tokens, at usual places, at places spread evenly, in all blocks
    but the last, and at the usual places before the MLP."""
    pooled: FoldName = "pool" if model.facts.global_pool == "avg" else "append"
    return [
        Rule(criterion=criterion, fold=fold, after=after, before_mlp=before_mlp)
        for criterion in criteria or CRITERIA
        for fold in folds_for(criterion, pooled)
        for after, before_mlp in places_for(model.encoder.depth)
    ]


def folds_for(criterion: CriterionName, pooled: FoldName) -> list[FoldName]:
    """What may become of the tokens that a criterion drops: matched ones are merged."""
    return ["merge"] if criterion == "bipartite" else [pooled, "merge"]


def places_for(depth: int) -> list[tuple[tuple[int, ...] | None, bool]]:
    """Blocks in which a stage stands, and whether before their MLP."""
    spread = tuple(sorted({depth // 4, depth // 2, 3 * depth // 4}))
    return [(None, False), (None, True), (spread, True), (tuple(range(depth - 1)), True)]


class Bench:
    """A classifier, this machine, and some images.

    answers: the most likely class of the first images, by candidate; None is the whole model. right: what they should
    be: labels, or the whole model's answers.
    """

    def __init__(
        self, model: Pretrained, config: TuneConfig, pixels: Pixels, labels: Int[Tensor, " images"] | None
    ) -> None:
        self.model, self.config, self.pixels = model, config, pixels
        self.batch = config.batch_size or (1 if config.ms else 16 if model.device.type == "cpu" else 256)
        self.answers: dict[Candidate | str, Tensor] = {}
        self.costs: dict[Candidate, float] = {}
        self.folder = tempfile.TemporaryDirectory(prefix="pcae-tune-")
        self.right = self.answered(WHOLE, len(pixels)) if labels is None else labels

    def classifier(self, candidate: Candidate | str) -> Any:
        """The classifier with the candidate's reduction, or the whole one."""
        if isinstance(candidate, str):
            return self.model.classifier(0.0)
        return self.model.classifier(candidate.drop_ratio, **vars(candidate.rule))

    def gmacs(self, candidate: Candidate) -> float:
        """10^9 multiply-accumulates of an image."""
        if candidate not in self.costs:
            classifier = self.classifier(candidate)
            with torch.no_grad():
                found = measure(classifier, classifier.reduced.vit.blocks, self.pixels[:1].to(self.model.device))
            self.costs[candidate] = found.gmacs
        return self.costs[candidate]

    def most(self, rule: Rule) -> int:
        """The most that a rule can drop, in hundredths, if it can drop as much as every share below."""
        return next((step - 1 for step in range(1, STEP) if not self.possible(rule, step / STEP)), STEP - 1)

    def possible(self, rule: Rule, drop_ratio: float) -> bool:
        """Whether tokens are left, and the criterion can drop as many."""
        try:
            token_counts(self.model.encoder, rule, drop_ratio)
        except ValueError:
            return False
        return True

    def at(self, rule: Rule, macs_allow: float) -> Candidate:
        """The rule at the least drop ratio whose multiply-accumulates allow so many times the speed, or at its most."""
        whole, most = self.gmacs(Candidate(rule, 0.0)), self.most(rule)
        too_slow = last(lambda step: whole / self.gmacs(Candidate(rule, step / STEP)) < macs_allow, most)
        return Candidate(rule, min(too_slow + 1, most) / STEP)

    def allowed(self, candidate: Candidate) -> float:
        """How many times as fast multiply-accumulates allow it to be."""
        return self.gmacs(Candidate(candidate.rule, 0.0)) / self.gmacs(candidate)

    def speeds(self, candidates: Sequence[Candidate], rounds: int) -> tuple[dict[Candidate, float], float]:
        """How many times as fast as the whole model each is, in turns of a quarter of a second at least; and the whole
        model's seconds for a batch."""
        few = self.pixels[torch.arange(self.batch) % len(self.pixels)].to(self.model.device)
        models = {one: self.runner(one) for one in (WHOLE, *candidates)}
        with torch.inference_mode():
            models[WHOLE](few)
            times = math.ceil(TURN / seconds_of(partial(models[WHOLE], few), few.device))
        seconds = take_turns({one: partial(repeated, run, times) for one, run in models.items()}, few, rounds)
        found = ratios(seconds, WHOLE)
        return {one: found[one] for one in candidates}, median(seconds[WHOLE]) / times

    def runner(self, candidate: Candidate | str) -> Callable[[Tensor], Tensor]:
        """What classifies uint8 images as it will be deployed."""
        if self.config.runtime == "onnxruntime":
            return self.session(candidate)
        classifier, device = self.classifier(candidate), self.model.device.type
        if self.config.precision == "fp32":
            return classifier
        return partial(in_bfloat16, classifier, device)

    def session(self, candidate: Candidate | str) -> Callable[[Tensor], Tensor]:
        """The candidate as an ONNX file in ONNX Runtime."""
        rule, ratio = (Rule(), 0.0) if isinstance(candidate, str) else (candidate.rule, candidate.drop_ratio)
        model = Pretrained(self.model.encoder, replace(self.model.facts, rule=rule)).eval()
        place = Path(self.folder.name) / f"{abs(hash(candidate))}.onnx"
        if not place.exists():
            Onnx().write(model, ratio, place)
        reopened = Onnx().reopen(model, place)
        return lambda images: reopened(images)[0]

    def answered(self, candidate: Candidate | str, images: int) -> Int[Tensor, " images"]:
        """The most likely classes of the first so many images, by PyTorch."""
        known = self.answers.get(candidate, torch.empty(0, dtype=torch.long))
        classifier, size = self.classifier(candidate), 64
        with torch.inference_mode():
            parts = [
                classifier(self.pixels[start : min(start + size, images)].to(self.model.device)).argmax(dim=1).cpu()
                for start in range(len(known), images, size)
            ]
        self.answers[candidate] = torch.cat([known, *parts])
        return self.answers[candidate][:images]

    def score(self, candidate: Candidate | str, images: int | None = None) -> float:
        """The share of the first images that it answers right."""
        images = images or len(self.pixels)
        return float((self.answered(candidate, images) == self.right[:images]).double().mean())


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


def in_bfloat16(classifier: Callable[[Tensor], Tensor], device: str, images: Tensor) -> Float[Tensor, "batch classes"]:
    """Logits with matrix products in bfloat16."""
    with torch.autocast(device, dtype=torch.bfloat16):
        return classifier(images)
