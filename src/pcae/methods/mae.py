"""MAE: predict the pixels of all hidden patches."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pcae.methods.masked import Masked
from pcae.methods.teacher import Targets, spread
from pcae.model.decoder import Decoder
from pcae.model.encoder import Encoder
from pcae.model.tokens import gather, patchify, split, upcast
from pcae.settings.methods import MAEConfig
from pcae.settings.network import DecoderConfig
from pcae.training.loop import StepResult
from pcae.training.randomness import StepRandom

USUAL_DEPTH = 8
"""Blocks of MAE's decoder."""


class MAE(Masked):
    """Masked autoencoder (He et al. 2022).

    The student encodes the visible patches, the decoder predicts the pixels of the hidden ones. Loss: squared
    difference, mean over the hidden patches. The decoder has eight blocks where none are asked for; two make it
    "mae-lite". Mask tokens stand at all hidden positions, and pixels are predicted at those alone.
    n_visible: the student's tokens; counts: the patches that are predicted.
    """

    predicts = "pixels"

    def __init__(self, encoder: Encoder, config: MAEConfig | None = None, decoder: DecoderConfig | None = None) -> None:
        config = config or MAEConfig()
        super().__init__(encoder, config.mask_ratio)
        self.config = config
        self.decoder = pixel_decoder(encoder, decoder)
        self.counts = [self.n_tokens - self.n_visible]

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """The loss of normalised images of the encoder's size."""
        grid = self.student.grid
        patches = patchify(batch, self.student.patch_size)
        visible_ids, hidden_ids = split(random.uniform("mask", patches.shape[1]), self.n_visible)

        targets = self.targets(patches, hidden_ids, random)
        seen = self.student(gather(patches, visible_ids), visible_ids, grid)
        predictions = self.decoder(seen.prefix, seen.tokens, seen.ids, hidden_ids, grid)

        loss = squared_difference(predictions, targets.features)
        return StepResult(loss, {"batch_student_std": spread(seen.tokens)})

    def targets(
        self,
        patches: Float[Tensor, "batch tokens patch_dim"],
        hidden_ids: Int[Tensor, "batch hidden"],
        random: StepRandom,
    ) -> Targets:
        """The pixels of the hidden patches."""
        return Targets(pixel_targets(gather(patches, hidden_ids), self.config.norm_pix_loss), hidden_ids)


def pixel_decoder(encoder: Encoder, config: DecoderConfig | None) -> Decoder:
    """A decoder that predicts the values of a patch, as `patchify` orders them."""
    values = encoder.embedding.proj.weight[0].numel()
    return Decoder(
        config or DecoderConfig(), in_dim=encoder.width, out_dim=values, grid=encoder.grid, usual_depth=USUAL_DEPTH
    )


def pixel_targets(
    patches: Float[Tensor, "batch tokens patch_dim"], norm: bool
) -> Float[Tensor, "batch tokens patch_dim"]:
    """The values of each patch; with `norm` less their mean, over their standard deviation (by n - 1, as in MAE)."""
    if not norm:
        return patches
    mean, variance = patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def squared_difference(
    predictions: Float[Tensor, "batch wanted patch_dim"], targets: Float[Tensor, "batch wanted patch_dim"]
) -> Float[Tensor, ""]:
    """Squared difference, mean over values and patches."""
    return F.mse_loss(upcast(predictions), upcast(targets))
