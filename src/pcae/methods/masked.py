"""What all methods share: a student that sees a random part of the patches."""

import math
from typing import ClassVar

from torch import nn

from pcae.model.encoder import Encoder
from pcae.model.pretrained import Predicts
from pcae.model.tokens import count_visible
from pcae.training.loop import Progress


class Masked(nn.Module):
    """A method with a `student`, who sees `n_visible` of the `n_tokens` patches of an image.

    predicts: a word for what is predicted. counts: of the patches that are hidden, and of what is left of them to
    predict, stage by stage.
    """

    predicts: ClassVar[Predicts]
    counts: list[int]

    def __init__(self, student: Encoder, mask_ratio: float) -> None:
        super().__init__()
        self.n_tokens = math.prod(student.grid)
        self.n_visible = count_visible(self.n_tokens, mask_ratio)
        self.student = student

    def after_step(self, progress: Progress) -> None:
        """Nothing moves but by the optimizer."""
