"""Any timm Vision Transformer, made faster without training: it is held, not patched."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.model.blocks import Encoded, run_blocks
from pcae.model.criteria import inference_criterion
from pcae.model.encoder import plain_vit
from pcae.model.reduction import Reduction
from pcae.model.tokens import all_ids
from pcae.settings.choices import CriterionName


class ReducedViT(nn.Module):
    """A timm VisionTransformer whose blocks drop redundant tokens on the way (section 3.4).

    `reduction` may be exchanged at any time. The appended means of dropped tokens leave before pooling; with
    `pool_dropped` they are pooled, too, each for as many tokens as it stands for (ours, not the paper's). Raises
    ValueError for `pool_dropped` with a model that does not average its patch tokens.
    """

    def __init__(self, vit: nn.Module, reduction: Reduction, pool_dropped: bool = False) -> None:
        super().__init__()
        self.vit = plain_vit(vit)
        self.reduction = reduction
        self.pool_dropped = pool_dropped
        if pool_dropped and self.vit.global_pool != "avg":
            raise ValueError(
                f"pool_dropped needs a classifier that averages its patch tokens, this one has pooling "
                f"{self.vit.global_pool!r}; leave it out"
            )

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Encoded:
        """What the blocks leave, before the final norm, and what each stage decided."""
        vit = self.vit
        sequence = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
        prefix, tokens = sequence.tensor_split([vit.num_prefix_tokens], dim=1)
        ids = all_ids(tokens.shape[0], tokens.shape[1], tokens.device)  # len() would fix an exported batch's size
        again = vit.grad_checkpointing
        return run_blocks(vit.blocks, tokens, ids, prefix, self.reduction, grad_checkpointing=again)

    def norm(self, encoded: Encoded) -> Float[Tensor, "batch tokens dim"]:
        """Prefix and remaining patch tokens after the final norm."""
        return self.vit.norm(torch.cat([encoded.prefix, encoded.tokens], dim=1))

    def forward_features(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Prefix and remaining patch tokens after the final norm."""
        return self.norm(self.encode(images))

    def forward_head(
        self, features: Float[Tensor, "batch tokens dim"], pre_logits: bool = False
    ) -> Float[Tensor, "batch out"]:
        """Pooling and classifier, the model's own."""
        return self.vit.forward_head(features, pre_logits=pre_logits)

    def mean_of_all(self, encoded: Encoded) -> Float[Tensor, "batch dim"]:
        """The mean of all patch tokens after the final norm, the dropped ones by the mean that their stage appended."""
        left, appended = self.vit.norm(encoded.tokens), self.vit.norm(encoded.appended)
        dropped = [stage.ids.shape[1] - stage.kept_ids.shape[1] for stage in encoded.stages]
        if not dropped:
            return left.mean(dim=1)
        total = left.sum(dim=1) + (appended * appended.new_tensor(dropped)[:, None]).sum(dim=1)
        return total / (left.shape[1] + sum(dropped))

    def classify(self, encoded: Encoded) -> Float[Tensor, "batch out"]:
        """Pooling and classifier, of what the blocks left."""
        if not self.pool_dropped:
            return self.forward_head(self.norm(encoded))
        mean = self.mean_of_all(encoded).unsqueeze(1)  # as a single token, which the model's own head then averages
        return self.forward_head(torch.cat([self.vit.norm(encoded.prefix), mean], dim=1))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out"]:
        """Logits, or pooled features for a model without a classifier."""
        return self.classify(self.encode(images))


def reduce(
    model: nn.Module,
    drop_ratio: float,
    criterion: CriterionName = "mean-similarity",
    pool_dropped: bool = False,
) -> ReducedViT:
    """Hold a timm VisionTransformer and drop `drop_ratio` of its patch tokens at each of three stages.

    Works with CLS, register or no prefix tokens and any pooling, without training; 0 is the plain model.
    criterion: which tokens go: those most like the mean, or those of another rule, to compare it with. pool_dropped:
    average pooling takes the means of dropped tokens in, each for as many as it stands for; without training it keeps
    more of the accuracy. Raises ValueError for other families, by name, for a ratio outside [0, 1), and for
    `pool_dropped` with another pooling.
    """
    depth, rule = len(plain_vit(model).blocks), inference_criterion(criterion)
    return ReducedViT(model, Reduction.for_finetuning(depth, drop_ratio=drop_ratio, criterion=rule), pool_dropped)
