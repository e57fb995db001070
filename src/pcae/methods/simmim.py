"""SimMIM: mask tokens go through the encoder, a linear head predicts hidden pixels; or the teacher's few features."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcae.methods.masked import Masked
from pcae.methods.teacher import Taught, Teacher, cosine_distance, spread
from pcae.model.encoder import Encoder, initialise
from pcae.model.tokens import gather, split, upcast
from pcae.settings.methods import PCAESimMIMConfig, SimMIMConfig
from pcae.training.loop import StepResult
from pcae.training.randomness import Randomness


def new_mask_token(width: int) -> nn.Parameter:
    """What stands where nothing is seen."""
    return nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))


def new_head(width: int, out_dim: int) -> nn.Linear:
    """The linear layer that predicts."""
    head = nn.Linear(width, out_dim)
    initialise(head)
    return head


def encode_masked(
    encoder: Encoder,
    mask_token: Float[Tensor, "1 1 dim"],
    visible: Float[Tensor, "batch visible patch_dim"],
    visible_ids: Int[Tensor, "batch visible"],
    wanted_ids: Int[Tensor, "batch wanted"],
) -> tuple[Float[Tensor, "batch visible dim"], Float[Tensor, "batch wanted dim"]]:
    """Features of the visible patches, and of mask tokens at `wanted_ids`, which see each other in the encoder."""
    seen = encoder.embed(visible)
    asked = mask_token.to(seen.dtype).expand(*wanted_ids.shape, -1)
    ids = torch.cat([visible_ids, wanted_ids], dim=1)
    tokens = encoder.encode(torch.cat([seen, asked], dim=1), ids, encoder.grid).tokens
    return tokens[:, : visible_ids.shape[1]], tokens[:, visible_ids.shape[1] :]


class SimMIM(Masked):
    """SimMIM (Xie et al. 2022) on a plain ViT with random masks by patch.

    Loss: absolute difference of pixels, mean over the hidden patches. The original has relative position bias and masks
    of 32 x 32 pixels; the paper compares at 78 of 196 tokens.
    n_visible: patches that are seen; counts: those that are predicted.
    """

    predicts = "pixels"

    def __init__(self, encoder: nn.Module, config: SimMIMConfig | None = None) -> None:
        super().__init__(encoder, (config or SimMIMConfig()).mask_ratio)
        self.mask_token = new_mask_token(self.student.width)
        self.head = new_head(self.student.width, self.student.patch_values)

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: Randomness = None) -> StepResult:
        """The loss of normalised images of the encoder's size, hidden by `random`: see `Masked`."""
        patches, random = self.begin(batch, random)
        visible_ids, hidden_ids = split(random.uniform("mask", patches.shape[1]), self.n_visible)

        targets = self.targets(patches, hidden_ids, random)
        visible = gather(patches, visible_ids)
        seen, masked = encode_masked(self.student, self.mask_token, visible, visible_ids, targets.ids)
        predictions = self.head(masked)

        loss = (upcast(predictions) - upcast(targets.features)).abs().mean()
        return StepResult(loss, {"batch_student_std": spread(seen)})


class PCAESimMIM(Taught):
    """PCAE on SimMIM (appendix D): mask tokens stand only where the teacher's tokens are left.

    Teacher and loss are PCAE's.
    n_visible: patches that are seen; counts: the teacher's tokens, at its input and after each stage.
    """

    predicts = "features"

    def __init__(
        self, encoder: nn.Module, config: PCAESimMIMConfig | None = None, teacher: nn.Module | None = None
    ) -> None:
        config = config or PCAESimMIMConfig()
        super().__init__(encoder, config.mask_ratio)
        self.teacher = Teacher(self.student, config, self.n_tokens - self.n_visible, usual_keep=0.54, fixed=teacher)
        self.mask_token = new_mask_token(self.student.width)
        self.head = new_head(self.student.width, self.teacher.encoder.width)
        self.counts = self.teacher.counts

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: Randomness = None) -> StepResult:
        """The loss of normalised images of the encoder's size, hidden by `random`: see `Masked`."""
        patches, random = self.begin(batch, random)
        visible_ids, hidden_ids = split(random.uniform("mask", patches.shape[1]), self.n_visible)

        targets = self.targets(patches, hidden_ids, random)
        visible = gather(patches, visible_ids)
        seen, masked = encode_masked(self.student, self.mask_token, visible, visible_ids, targets.ids)

        loss = cosine_distance(self.head(masked), targets.features)
        return StepResult(loss, {"batch_target_std": spread(targets.features), "batch_student_std": spread(seen)})
