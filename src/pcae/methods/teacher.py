"""The moving-average copy of the student that makes the targets."""

import copy

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.encoder import Encoded, Encoder
from pcae.model.reduction import Reduction
from pcae.model.tokens import Grid, gather, locate, upcast
from pcae.training.average import follow


class Teacher(nn.Module):
    """Starts as an exact copy of the student, never gets a gradient, always evaluates, moves only by `follow`."""

    def __init__(self, student: Encoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(student).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Teacher":
        """A teacher stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self,
        patches: Float[Tensor, "batch hidden patch_dim"],
        ids: Int[Tensor, "batch hidden"],
        grid: Grid,
        reduction: Reduction,
        *,
        target_layers: int = 1,
    ) -> tuple[Float[Tensor, "batch kept dim"], Encoded]:
        """Features of the tokens that the reduction keeps, and all that was decided on the way.

        target_layers=1: the encoder's output. K > 1: the mean of the last K blocks' outputs, each token of each
        block standardised first.
        """
        depth = self.encoder.depth
        record = range(depth - target_layers, depth) if target_layers > 1 else ()
        encoded = self.encoder(patches, ids, grid, prefix=False, reduction=reduction, record=record)
        if target_layers == 1:
            return encoded.tokens, encoded
        layers = [standardise(gather(tokens, locate(ids, encoded.ids))) for tokens, ids in encoded.recorded.values()]
        return torch.stack(layers).mean(dim=0), encoded

    def follow(self, student: Encoder, momentum: float, taken: Bool[Tensor, ""]) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * student, if the student's step was taken."""
        follow(self.encoder, student, momentum, taken)


def standardise(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
    """Each token with mean 0 and variance 1 over its features; no parameters."""
    return F.layer_norm(upcast(tokens), tokens.shape[-1:])
