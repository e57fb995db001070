"""PCAE: predict the few features of hidden patches that the teacher did not drop on its way."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.methods.teacher import Teacher, standardise
from pcae.model.decoder import Decoder, DecoderConfig
from pcae.model.encoder import Encoder, check_blocks
from pcae.model.reduction import Reduction, kept_counts
from pcae.model.tokens import count_visible, gather, patchify, split, upcast
from pcae.training.loop import Progress, StepResult
from pcae.training.randomness import Draw
from pcae.training.schedule import momentum_at


@dataclass(frozen=True, kw_only=True)
class PCAEConfig:
    """The method. The defaults are the paper's, but for the momentum."""

    mask_ratio: float = 0.75
    """Share of the patches that the student does not see, in (0, 1)."""
    stages: int = 3
    """Times that the teacher drops tokens; they stand evenly over its depth (after blocks 0, 4, 8 of 12)."""
    stages_after: tuple[int, ...] | None = None
    """Blocks, from 0, after which the teacher drops tokens, instead of `stages`."""
    keep_ratio: float = 0.5
    """Share of the tokens that each of the teacher's stages keeps, in (0, 1]."""
    target_norm: Literal["token", "none"] = "token"
    """token: standardise each target over its features. none: the letter of Eq. 1."""
    target_layers: int = 1
    """Last blocks of the teacher whose outputs, each standardised, are averaged into the target; 1 is the paper."""
    momentum: float | None = None
    """Momentum of the teacher; without it, 1 - 4 / steps, tied to the length of the run (the paper: 0.9999)."""
    momentum_end: float | None = None
    """Momentum at the end of a half cosine; without it, the momentum stays fixed."""


class PCAE(nn.Module):
    """Progressively compressed autoencoder (section 3).

    The student encodes the visible patches, the teacher the hidden ones, dropping redundant tokens stage by stage;
    the decoder predicts the teacher's tokens that are left. Loss: 1 - cosine similarity (Eq. 1).
    n_visible: the student's tokens; counts: the teacher's, at its input and after each stage.
    Raises ValueError for settings that fit neither each other nor the encoder.
    """

    def __init__(
        self, encoder: Encoder, config: PCAEConfig | None = None, decoder: DecoderConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or PCAEConfig()
        check_config(config, encoder.depth)
        n_tokens = encoder.grid[0] * encoder.grid[1]
        self.n_visible = count_visible(n_tokens, config.mask_ratio)
        self.reduction = teacher_reduction(config, encoder.depth)
        self.counts = [n_tokens - self.n_visible, *kept_counts(n_tokens - self.n_visible, self.reduction).values()]
        self.student = encoder
        self.teacher = Teacher(encoder)
        self.decoder = Decoder(
            decoder or DecoderConfig(),
            in_dim=encoder.width,
            out_dim=self.teacher.encoder.width,
            grid=encoder.grid,
        )

    def forward(self, batch: Float[Tensor, "batch channels height width"], draw: Draw) -> StepResult:
        """The loss of normalised images of the encoder's size."""
        grid = self.student.grid
        patches = patchify(batch, self.student.patch_size)
        visible_ids, hidden_ids = split(draw.uniform("mask", patches.shape[1]), self.n_visible)

        targets, kept = self.teacher(
            gather(patches, hidden_ids),
            hidden_ids,
            grid,
            self.reduction,
            target_layers=self.config.target_layers,
        )
        seen = self.student(gather(patches, visible_ids), visible_ids, grid)
        predictions = self.decoder(seen.prefix, seen.tokens, seen.ids, kept.ids, grid)

        if self.config.target_norm == "token":
            targets = standardise(targets)
        similarity = torch.cosine_similarity(upcast(predictions), upcast(targets), dim=-1).mean()
        return StepResult(1 - similarity, {"target_std": spread(targets), "student_std": spread(seen.tokens)})

    def after_step(self, progress: Progress) -> None:
        """Move the teacher, if the optimizer's step was taken."""
        start = self.config.momentum
        if start is None:
            start = max(0.0, 1 - 4 / progress.steps)
        end = start if self.config.momentum_end is None else self.config.momentum_end
        momentum = momentum_at(progress.step, steps=progress.steps, start=start, end=end)
        self.teacher.follow(self.student, momentum, progress.taken)


def teacher_reduction(config: PCAEConfig, depth: int) -> Reduction:
    """Where the teacher drops tokens, and how many."""
    if config.stages_after is not None:
        check_blocks(depth, config.stages_after)
        return Reduction(keep=config.keep_ratio, after=config.stages_after)
    return Reduction.for_pretraining(depth, stages=config.stages, keep=config.keep_ratio)


def check_config(config: PCAEConfig, depth: int) -> None:
    """Raise ValueError for the settings that no other part checks."""
    if not 1 <= config.target_layers <= depth:
        raise ValueError(f"target_layers must lie in [1, {depth}] for {depth} blocks, got {config.target_layers}")
    for name in ("momentum", "momentum_end"):
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")


def spread(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, ""]:
    """Standard deviation of the images' mean tokens, averaged over features: 0 when all images of a
    micro-batch look the same."""
    return upcast(tokens.detach()).mean(dim=1).std(dim=0, correction=0).mean()
