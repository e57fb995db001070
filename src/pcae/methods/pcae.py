"""PCAE: predict the few features of hidden patches that the teacher did not drop on its way."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from pcae.methods.teacher import Teacher, TeacherConfig, cosine_distance, spread
from pcae.model.decoder import Decoder, DecoderConfig
from pcae.model.encoder import Encoder
from pcae.model.pretrained import Predicts
from pcae.model.tokens import count_visible, gather, patchify, split
from pcae.training.loop import Progress, StepResult
from pcae.training.randomness import Draw


@dataclass(frozen=True, kw_only=True)
class PCAEConfig(TeacherConfig):
    """The method. The defaults are the paper's, but for the momentum."""

    mask_ratio: float = 0.75
    """Share of the patches that the student does not see, in (0, 1)."""


class PCAE(nn.Module):
    """Progressively compressed autoencoder (section 3).

    The student encodes the visible patches, the teacher the hidden ones, dropping redundant tokens stage by stage;
    the decoder predicts the teacher's tokens that are left. Loss: 1 - cosine similarity (Eq. 1).
    teacher: a fixed, pre-trained encoder in place of the moving average (Table 12).
    n_visible: the student's tokens; counts: the teacher's, at its input and after each stage.
    Raises ValueError for settings that fit neither each other nor the encoder.
    """

    predicts: Predicts = "features"

    def __init__(
        self,
        encoder: Encoder,
        config: PCAEConfig | None = None,
        decoder: DecoderConfig | None = None,
        teacher: Encoder | None = None,
    ) -> None:
        super().__init__()
        config = config or PCAEConfig()
        n_tokens = encoder.grid[0] * encoder.grid[1]
        self.n_visible = count_visible(n_tokens, config.mask_ratio)
        self.student = encoder
        self.teacher = Teacher(encoder, config, n_tokens - self.n_visible, fixed=teacher)
        self.decoder = Decoder(
            decoder or DecoderConfig(), in_dim=encoder.width, out_dim=self.teacher.encoder.width, grid=encoder.grid
        )
        self.counts = self.teacher.counts

    def forward(self, batch: Float[Tensor, "batch channels height width"], draw: Draw) -> StepResult:
        """The loss of normalised images of the encoder's size."""
        grid = self.student.grid
        patches = patchify(batch, self.student.patch_size)
        visible_ids, hidden_ids = split(draw.uniform("mask", patches.shape[1]), self.n_visible)

        targets = self.teacher(gather(patches, hidden_ids), hidden_ids, draw)
        seen = self.student(gather(patches, visible_ids), visible_ids, grid)
        predictions = self.decoder(seen.prefix, seen.tokens, seen.ids, targets.ids, grid)

        loss = cosine_distance(predictions, targets.features)
        return StepResult(loss, {"target_std": spread(targets.features), "student_std": spread(seen.tokens)})

    def after_step(self, progress: Progress) -> None:
        """Move the teacher, if the optimizer's step was taken."""
        self.teacher.after_step(self.student, progress)
