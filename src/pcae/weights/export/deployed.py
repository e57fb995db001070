"""What an exported model computes: uint8 images in, logits or features and the kept ids out."""

from copy import deepcopy
from dataclasses import replace
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pcae.model.blocks import Encoded, Stage
from pcae.model.criteria import stage_counts
from pcae.model.pretrained import Pretrained
from pcae.model.reduced import reduce
from pcae.model.tokens import all_ids, upcast

AFTER_BLOCKS = ("norm", "attn_pool", "fc_norm", "head", "head_dist")
"""timm's names of what follows the blocks."""

NOT_EXPORTED = ("random", "decomposition")
"""Criteria that draw, or decompose a matrix, which no graph does."""


class Answer(NamedTuple):
    """What PyTorch makes of images: logits or features, and what each stage decided on the way."""

    output: Float[Tensor, "batch *dims"]
    stages: tuple[Stage, ...] = ()


class Deployed(nn.Module):
    """A model at one drop ratio, normalisation included: logits, or the features of an encoder without a classifier.

    Features are the mean of the patch tokens that are left, or of all by the folds `pool` and `merge`; at drop ratio 0
    both are what `pcae embed --pool mean` has. Raises ValueError for a drop ratio that leaves no tokens,
    and for a criterion that no graph has.
    """

    def __init__(self, model: Pretrained, drop_ratio: float) -> None:
        super().__init__()
        rule = model.facts.rule
        if drop_ratio and rule.criterion in NOT_EXPORTED:
            raise ValueError(
                f"criterion {rule.criterion} is a control that is not exported; use --drop-ratio 0, or another "
                "--criterion"
            )
        self.drop_ratio, self.rule = drop_ratio, rule
        self.size = (model.facts.encoder.channels or 3, *model.facts.encoder.image_size)
        self.normalise = model.normalise
        classifies = model.facts.classes is not None
        inside = rule if classifies or rule.fold != "pool" else replace(rule, fold="append")  # pooled in `features`
        self.reduced = reduce(model.encoder.vit, drop_ratio, **vars(inside))
        stage_counts(prod(model.encoder.grid), self.reduced.reduction, self.reduced.num_prefix_tokens)  # refused here
        self.register_buffer("ids", all_ids(1, prod(model.encoder.grid), model.device))
        self.head = self.logits if classifies else self.features

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """Logits or features, then the kept ids of every stage."""
        output, stages = self.answer(images)
        return output, *(stage.kept_ids for stage in stages)

    def answer(self, images: UInt8[Tensor, "batch channels height width"]) -> Answer:
        """The same, with the scores that decided."""
        normalised = self.normalise(images).to(next(self.reduced.vit.blocks.parameters()).dtype)
        encoded = in_single(self.reduced.encode(normalised, self.get_buffer("ids")))
        return Answer(self.head(encoded), encoded.stages)

    def logits(self, encoded: Encoded) -> Float[Tensor, "batch classes"]:
        """The classifier's answer."""
        return self.reduced.classify(encoded)

    def features(self, encoded: Encoded) -> Float[Tensor, "batch dim"]:
        """The mean of the remaining patch tokens, or of all."""
        vit = self.reduced.vit
        if self.rule.fold in ("pool", "merge"):
            return vit.fc_norm(self.reduced.mean_of_all(encoded))
        return vit.fc_norm(vit.norm(encoded.tokens).mean(dim=1))

    def example(self, batch: int = 2) -> UInt8[Tensor, "batch channels height width"]:
        """Black images of the right size. Two, because PyTorch takes a batch of one for one that never changes."""
        return torch.zeros(batch, *self.size, dtype=torch.uint8)


def in_single(encoded: Encoded) -> Encoded:
    """What the blocks left, in float32 at least: what comes after them is computed so in every precision."""
    prefix, tokens, appended = map(upcast, (encoded.prefix, encoded.tokens, encoded.appended))
    return replace(encoded, prefix=prefix, tokens=tokens, appended=appended)


def in_half(model: Pretrained) -> Pretrained:
    """A copy whose patch embedding, positions and blocks are float16; the norm, pooling and classifier after them not.

    The scores that rank tokens, and means of dropped tokens, are float32 wherever tokens are less.
    """
    encoder = deepcopy(model.encoder).half()
    for name, part in encoder.vit.named_children():
        if name in AFTER_BLOCKS:
            part.float()
    return Pretrained(encoder, model.facts)


def whole_answer(model: Pretrained, images: UInt8[Tensor, "batch channels height width"]) -> Answer:
    """Logits at drop ratio 0, or all tokens of an encoder after the final norm: what formats without reduction give."""
    if model.facts.classes is not None:
        return Answer(model.classifier(0.0)(images))
    encoded = model(images)
    return Answer(torch.cat([encoded.prefix, encoded.tokens], dim=1))
