"""What makes the targets: a moving-average copy of the student, or a fixed encoder, that drops tokens on its way."""

import copy
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.methods.masked import Masked, Targets
from pcae.model.blocks import Encoded, check_blocks
from pcae.model.criteria import named_criterion
from pcae.model.encoder import Encoder
from pcae.model.pretrained import as_encoder
from pcae.model.reduction import Reduction, kept_counts
from pcae.model.tokens import gather, locate, patchify, split, unpatchify, upcast
from pcae.settings.methods import TeacherConfig
from pcae.training.average import follow
from pcae.training.loop import Progress
from pcae.training.randomness import StepRandom
from pcae.training.schedule import momentum_at


class Teacher(nn.Module):
    """Encodes hidden patches without gradient, always evaluating, and drops tokens by its reduction.

    Starts as an exact copy of the student and follows it; `fixed` is a pre-trained encoder that stays as it is.
    n_hidden: patches that it is shown. class_target: whether its class token is a target, too, so that it runs with its
    prefix. counts: its tokens at the input, after each stage, and of random targets.
    Raises ValueError for settings that fit neither each other nor the encoder.
    """

    def __init__(
        self,
        student: Encoder,
        config: TeacherConfig,
        n_hidden: int,
        *,
        usual_keep: float = 0.5,
        fixed: nn.Module | None = None,
        class_target: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.is_fixed, self.class_target = config, fixed is not None, class_target
        self.encoder = copy.deepcopy(student if fixed is None else as_encoder(fixed)).requires_grad_(False).eval()
        self.shown = student.patch_size
        check_teacher(config, self.encoder, student, self.is_fixed)
        self.reduction = teacher_reduction(config, self.encoder.depth, usual_keep)
        self.counts = [n_hidden, *kept_counts(n_hidden, self.reduction).values()]
        if config.random_targets is not None:
            if not 0 < config.random_targets <= self.counts[-1]:
                raise ValueError(f"random_targets must lie in [1, {self.counts[-1]}], got {config.random_targets}")
            self.counts.append(config.random_targets)

    def train(self, mode: bool = True) -> "Teacher":
        """A teacher stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def in_own_patches(
        self, patches: Float[Tensor, "batch tokens student_dim"]
    ) -> Float[Tensor, "batch tokens patch_dim"]:
        """All patches of images in the teacher's size: where it has another, of images resized so that grids agree
        (bicubic, with antialias).
        """
        own, grid = self.encoder.patch_size, self.encoder.grid
        if own == self.shown:
            return patches
        images, size = unpatchify(patches, grid, self.shown), (grid[0] * own[0], grid[1] * own[1])
        return patchify(F.interpolate(images, size, mode="bicubic", antialias=True), own)

    @torch.no_grad()
    def forward(
        self, patches: Float[Tensor, "batch hidden patch_dim"], ids: Int[Tensor, "batch hidden"], random: StepRandom
    ) -> Targets:
        """The targets of hidden patches.

        target_layers=1: the encoder's output. K > 1: the mean of the last K blocks' outputs, each token of each
        block standardised first.
        """
        config, grid, depth = self.config, self.encoder.grid, self.encoder.depth
        criterion = named_criterion(config.criterion, partial(random.uniform, "drop", grid[0] * grid[1]))
        encoded = self.encoder(
            patches,
            ids,
            grid,
            prefix=self.class_target or config.criterion == "saliency",
            reduction=replace(self.reduction, criterion=criterion),
            record=range(depth - config.target_layers, depth) if config.target_layers > 1 else (),
        )
        layers = config.target_layers > 1
        features, ids = layers_mean(encoded) if layers else encoded.tokens, encoded.ids
        if config.random_targets is not None:
            chosen, _ = split(random.uniform("targets", grid[0] * grid[1]).gather(1, ids), config.random_targets)
            features, ids = gather(features, chosen), ids.gather(1, chosen)
        normed = standardise if config.target_norm == "token" else upcast
        targets = Targets(normed(features), ids, encoded)
        if not self.class_target:
            return targets
        return targets._replace(class_token=normed(class_tokens_mean(encoded) if layers else encoded.prefix[:, :1]))

    def after_step(self, student: Encoder, progress: Progress) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * student, if the optimizer's step was taken."""
        if not self.is_fixed:
            follow(self.encoder, student, self.momentum_at(progress.step, progress.steps), progress.taken)

    def momentum_at(self, step: int | None, steps: int | None) -> float:
        """The momentum of step `step` (from 0) of `steps`; where it is always the same, of no step in particular.

        Raises ValueError where it depends on steps that are not said, or lie outside of the run.
        """
        start, end = self.config.momentum, self.config.momentum_end
        if step is None and steps is None and start is not None and end in (None, start):
            return start
        if step is None or steps is None:
            raise ValueError(
                "the teacher's momentum depends on the length of the run; use update_teacher(step, steps) with the "
                "step from 0, or a fixed one: update_teacher(momentum=0.996), PCAEConfig(momentum=0.996)"
            )
        if not 0 <= step < steps:
            raise ValueError(f"step {step} is none of {steps} steps, which are counted from 0")
        start = max(0.0, 1 - 4 / steps) if start is None else start
        return momentum_at(step, steps=steps, start=start, end=start if end is None else end)


class Taught(Masked):
    """A method whose student predicts what its `teacher` keeps of the hidden patches."""

    teacher: Teacher

    def targets(
        self,
        patches: Float[Tensor, "batch tokens patch_dim"],
        hidden_ids: Int[Tensor, "batch hidden"],
        random: StepRandom,
    ) -> Targets:
        """What the teacher keeps of the hidden patches."""
        return self.teacher(gather(self.teacher.in_own_patches(patches), hidden_ids), hidden_ids, random)

    def after_step(self, progress: Progress) -> None:
        """Move the teacher, if the optimizer's step was taken."""
        self.teacher.after_step(self.student, progress)

    def update_teacher(
        self, step: int | None = None, steps: int | None = None, *, momentum: float | None = None
    ) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * student, once after each step of a loop of one's own.

        step, steps: where the run stands (from 0) and how long it is, by which the configured momentum goes; a fixed
        one needs neither. momentum: in place of the configured one, in [0, 1]. A fixed teacher stays as it is.
        Raises ValueError where the momentum is not known.
        """
        if self.teacher.is_fixed:
            return
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        momentum = self.teacher.momentum_at(step, steps) if momentum is None else momentum
        taken = torch.ones((), dtype=torch.bool, device=next(self.student.parameters()).device)
        follow(self.teacher.encoder, self.student, momentum, taken)


def teacher_reduction(config: TeacherConfig, depth: int, usual_keep: float) -> Reduction:
    """Where the teacher drops tokens, and how many."""
    keep = usual_keep if config.keep_ratio is None else config.keep_ratio
    if config.stages_after is None:
        return Reduction.for_pretraining(depth, stages=config.stages, keep=keep, placement=config.placement)
    if (config.stages, config.placement) != (TeacherConfig.stages, TeacherConfig.placement):
        raise ValueError(f"stages_after {config.stages_after} says where stages stand; leave stages and placement out")
    check_blocks(depth, config.stages_after)
    return Reduction(keep=keep, after=config.stages_after)


def check_teacher(config: TeacherConfig, teacher: Encoder, student: Encoder, fixed: bool) -> None:
    """Raise ValueError for the settings that no other part checks."""
    depth = teacher.depth
    if not 1 <= config.target_layers <= depth:
        raise ValueError(f"target_layers must lie in [1, {depth}] for {depth} blocks, got {config.target_layers}")
    for name in ("momentum", "momentum_end"):
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
        if value is not None and fixed:
            raise ValueError(f"{name} {value} is for a teacher that moves; leave it out where --teacher is fixed")
    if student.grid != teacher.grid:
        sides = " x ".join(str(count * side) for count, side in zip(student.grid, teacher.patch_size, strict=True))
        raise ValueError(
            f"the teacher's grid is {teacher.grid}, the student's {student.grid}; load it for images of {sides} pixels"
        )
    if student.channels != teacher.channels:
        raise ValueError(f"the teacher takes {teacher.channels} channels, the student {student.channels}")
    if config.criterion == "saliency" and not teacher.has_class_token:
        raise ValueError("criterion saliency needs a teacher with a class token; use token-importance or another model")


def layers_mean(encoded: Encoded) -> Float[Tensor, "batch kept dim"]:
    """The mean of the recorded blocks' outputs at the tokens that are left, each standardised first."""
    layers = [standardise(gather(tokens, locate(ids, encoded.ids))) for tokens, ids in encoded.recorded.values()]
    return torch.stack(layers).mean(dim=0)


def class_tokens_mean(encoded: Encoded) -> Float[Tensor, "batch 1 dim"]:
    """The same of the class token."""
    return torch.stack([standardise(prefix[:, :1]) for prefix in encoded.recorded_prefix.values()]).mean(dim=0)


def standardise(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
    """Each token with mean 0 and variance 1 over its features; no parameters."""
    return F.layer_norm(upcast(tokens), tokens.shape[-1:])


def cosine_distance(
    predictions: Float[Tensor, "batch wanted dim"], targets: Float[Tensor, "batch wanted dim"]
) -> Float[Tensor, ""]:
    """1 - cosine similarity, mean over targets (Eq. 1)."""
    return 1 - torch.cosine_similarity(upcast(predictions), upcast(targets), dim=-1).mean()


def spread(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, ""]:
    """Standard deviation of the images' mean tokens, averaged over features: 0 when all images of a
    micro-batch look the same."""
    return upcast(tokens.detach()).mean(dim=1).std(dim=0, correction=0).mean()
