"""Any timm Vision Transformer, made faster without training: it is held, not patched."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.model.blocks import Encoded, run_blocks
from pcae.model.criteria import CriterionName, inference_criterion
from pcae.model.encoder import plain_vit
from pcae.model.reduction import Reduction
from pcae.model.tokens import all_ids


class ReducedViT(nn.Module):
    """A timm VisionTransformer whose blocks drop redundant tokens on the way (section 3.4).

    `reduction` may be exchanged at any time. The appended means of dropped tokens leave before pooling.
    """

    def __init__(self, vit: nn.Module, reduction: Reduction) -> None:
        super().__init__()
        self.vit = plain_vit(vit)
        self.reduction = reduction

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

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out"]:
        """Logits, or pooled features for a model without a classifier."""
        return self.forward_head(self.forward_features(images))


def reduce(model: nn.Module, drop_ratio: float, criterion: CriterionName = "mean-similarity") -> ReducedViT:
    """Hold a timm VisionTransformer and drop `drop_ratio` of its patch tokens at each of three stages.

    Works with CLS, register or no prefix tokens and any pooling, without training; 0 is the plain model.
    criterion: which tokens go: those most like the mean, or those of another rule, to compare it with.
    Raises ValueError for other families, by name, and for a ratio outside [0, 1).
    """
    reduction = Reduction.for_finetuning(len(plain_vit(model).blocks), drop_ratio=drop_ratio)
    return ReducedViT(model, replace(reduction, criterion=inference_criterion(criterion)))
