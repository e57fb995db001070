"""What all methods share: a student that sees a random part of the patches."""

import math
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcae.model.blocks import Encoded
from pcae.model.checks import check_range
from pcae.model.pretrained import Predicts, as_encoder
from pcae.model.tokens import count_visible, gather
from pcae.training.loop import Progress
from pcae.training.randomness import Randomness, StepRandom, random_for


class Targets(NamedTuple):
    """What is to be predicted, where, and all that the teacher, where there is one, decided on the way.

    class_token: of a teacher that runs with one, to be predicted where that is asked for.
    """

    features: Float[Tensor, "batch wanted dim"]
    ids: Int[Tensor, "batch wanted"]
    encoded: Encoded | None = None
    class_token: Float[Tensor, "batch 1 dim"] | None = None


class Masked(nn.Module):
    """A method with a `student`, who sees `n_visible` of the `n_tokens` patches of an image.

    student: an Encoder, timm's VisionTransformer or a Pretrained; it is trained in place. The method called with
    images, normalised floats of the student's size, gives their loss. What is hidden is decided by `random`: a
    StepRandom, a torch.Generator, or torch's own generator.

    predicts: a word for what is predicted. counts: of the patches that are hidden, and of what is left of them to
    predict, stage by stage. norm_pixels: whether pixels that are predicted are normalised patch by patch.
    """

    predicts: ClassVar[Predicts]

    def __init__(self, student: nn.Module, mask_ratio: float, norm_pixels: bool = False) -> None:
        super().__init__()
        student = as_encoder(student)
        self.n_tokens = math.prod(student.grid)
        self.n_visible = count_visible(self.n_tokens, mask_ratio)
        self.counts = [self.n_tokens - self.n_visible]
        self.norm_pixels = norm_pixels
        self.student = student
        self.range_seen = False

    def begin(
        self, images: Float[Tensor, "batch channels height width"], random: Randomness
    ) -> tuple[Float[Tensor, "batch tokens patch_dim"], StepRandom]:
        """The patches of a batch, and its random numbers.

        Raises ValueError for images that are not normalised floats of the encoder's size, and for random numbers of
        other rows. The range of the pixels is looked at once, in the first batch of a loop that is not ours.
        """
        patches = self.student.patches_of(images)
        ours = isinstance(random, StepRandom) and random.batch_size is not None  # the loop's, which normalises images
        if not (ours or self.range_seen or images.is_meta or torch.compiler.is_compiling()):
            check_range(images)
            self.range_seen = True
        return patches, random_for(random, len(images), images.device)

    def targets(
        self,
        patches: Float[Tensor, "batch tokens patch_dim"],
        hidden_ids: Int[Tensor, "batch hidden"],
        random: StepRandom,
    ) -> Targets:
        """The pixels of the hidden patches."""
        return Targets(pixel_targets(gather(patches, hidden_ids), self.norm_pixels), hidden_ids)

    def after_step(self, progress: Progress) -> None:
        """Nothing moves but by the optimizer."""

    def update_teacher(
        self, step: int | None = None, steps: int | None = None, *, momentum: float | None = None
    ) -> None:
        """Nothing moves: there is no teacher. So one loop fits all methods."""


def pixel_targets(
    patches: Float[Tensor, "batch tokens patch_dim"], norm: bool
) -> Float[Tensor, "batch tokens patch_dim"]:
    """The values of each patch; with `norm` less their mean, over their standard deviation (by n - 1, as in MAE)."""
    if not norm:
        return patches
    mean, variance = patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()
