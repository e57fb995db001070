"""MAE: predict the pixels of all hidden patches."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.methods.masked import Masked
from pcae.methods.teacher import spread
from pcae.model.decoder import Decoder
from pcae.model.encoder import Encoder
from pcae.model.tokens import gather, split, upcast
from pcae.settings.methods import MAEConfig
from pcae.settings.network import DecoderConfig
from pcae.training.loop import StepResult
from pcae.training.randomness import Randomness

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

    def __init__(
        self, encoder: nn.Module, config: MAEConfig | None = None, decoder: DecoderConfig | None = None
    ) -> None:
        config = config or MAEConfig()
        super().__init__(encoder, config.mask_ratio, config.norm_pix_loss)
        self.decoder = pixel_decoder(self.student, decoder)

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: Randomness = None) -> StepResult:
        """The loss of normalised images of the encoder's size, hidden by `random`: see `Masked`."""
        grid = self.student.grid
        patches, random = self.begin(batch, random)
        visible_ids, hidden_ids = split(random.uniform("mask", patches.shape[1]), self.n_visible)

        targets = self.targets(patches, hidden_ids, random)
        seen = self.student(gather(patches, visible_ids), visible_ids, grid)
        predictions = self.decoder(seen.prefix, seen.tokens, seen.ids, hidden_ids, grid)

        loss = squared_difference(predictions, targets.features)
        return StepResult(loss, {"batch_student_std": spread(seen.tokens)})


def pixel_decoder(encoder: Encoder, config: DecoderConfig | None) -> Decoder:
    """A decoder that predicts the values of a patch, as `patchify` orders them."""
    values = encoder.patch_values
    return Decoder(
        config or DecoderConfig(), in_dim=encoder.width, out_dim=values, grid=encoder.grid, usual_depth=USUAL_DEPTH
    )


def squared_difference(
    predictions: Float[Tensor, "batch wanted patch_dim"], targets: Float[Tensor, "batch wanted patch_dim"]
) -> Float[Tensor, ""]:
    """Squared difference, mean over values and patches."""
    return F.mse_loss(upcast(predictions), upcast(targets))
