"""MAE with discarded targets (Table 9): predict the pixels of those patches alone that PCAE's teacher keeps."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from pcae.methods.mae import pixel_decoder, squared_difference
from pcae.methods.masked import Targets, pixel_targets
from pcae.methods.teacher import Taught, Teacher, spread
from pcae.model.tokens import gather, locate, split
from pcae.settings.methods import DiscardingMAEConfig, TeacherConfig
from pcae.settings.network import DecoderConfig
from pcae.training.loop import StepResult
from pcae.training.randomness import Randomness, StepRandom


class DiscardingMAE(Taught):
    """The naive way to discard targets of MAE (appendix C), which PCAE is held against.

    Patches are discarded by PCAE's strategy: its teacher decides, so that what is predicted, pixels or the teacher's
    features, is the only difference from PCAE. Its features are not used.
    n_visible: the student's tokens; counts: the teacher's, at its input and after each stage.
    """

    predicts = "pixels"

    def __init__(
        self,
        encoder: nn.Module,
        config: DiscardingMAEConfig | None = None,
        decoder: DecoderConfig | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        config = config or DiscardingMAEConfig()
        super().__init__(encoder, config.mask_ratio, config.norm_pix_loss)
        self.config = config
        if (config.target_norm, config.target_layers) != (TeacherConfig.target_norm, TeacherConfig.target_layers):
            raise ValueError("target_norm and target_layers are for targets that are features; mae-discard has pixels")
        self.teacher = Teacher(self.student, config, self.n_tokens - self.n_visible, fixed=teacher)
        self.decoder = pixel_decoder(self.student, decoder)
        self.counts = self.teacher.counts

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: Randomness = None) -> StepResult:
        """The loss of normalised images of the encoder's size, hidden by `random`: see `Masked`."""
        grid = self.student.grid
        patches, random = self.begin(batch, random)
        visible_ids, hidden_ids = split(random.uniform("mask", patches.shape[1]), self.n_visible)

        targets = self.targets(patches, hidden_ids, random)
        seen = self.student(gather(patches, visible_ids), visible_ids, grid)
        decoded_ids = hidden_ids if self.config.discard == "loss" else targets.ids
        decoded = self.decoder(seen.prefix, seen.tokens, seen.ids, decoded_ids, grid)
        predictions = gather(decoded, locate(decoded_ids, targets.ids))

        loss = squared_difference(predictions, targets.features)
        return StepResult(loss, {"batch_student_std": spread(seen.tokens)})

    def targets(
        self,
        patches: Float[Tensor, "batch tokens patch_dim"],
        hidden_ids: Int[Tensor, "batch hidden"],
        random: StepRandom,
    ) -> Targets:
        """The pixels of the hidden patches that the teacher keeps."""
        kept = super().targets(patches, hidden_ids, random)
        return Targets(pixel_targets(gather(patches, kept.ids), self.norm_pixels), kept.ids, kept.encoded)
