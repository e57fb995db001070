"""A trained model with the normalisation of its data: uint8 images in, features or logits out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pcae.data.augment import Normalise
from pcae.model.encoder import Encoded, Encoder, EncoderConfig, create_vit
from pcae.model.reduced import ReducedViT, reduce
from pcae.model.tokens import all_ids, patchify


@dataclass(frozen=True, kw_only=True)
class PretrainedFacts:
    """What a file of weights says of itself beside its tensors.

    pixel_range: values of 16-bit and float pixels that become black and white. classes: names of a classifier's
    logits, in order; None is an encoder without a classifier. global_pool: timm's name of its pooling, "" for none.
    drop_ratios: least and most drop ratio that it was fine-tuned with. crop_pct: share of an image's shorter side
    that is looked at. norm_eps: epsilon of the norms, where it is not the one that timm gives the architecture.
    """

    encoder: EncoderConfig
    mean: list[float]
    std: list[float]
    pixel_range: tuple[float, float] | None = None
    classes: list[str] | None = None
    global_pool: str = ""
    drop_ratios: tuple[float, float] = (0.0, 0.0)
    crop_pct: float = 1.0
    norm_eps: float | None = None


class Pretrained(nn.Module):
    """A model that takes images as they are read and knows what it was trained on."""

    def __init__(self, encoder: Encoder, facts: PretrainedFacts) -> None:
        super().__init__()
        self.encoder = encoder
        self.facts = facts
        self.normalise = Normalise(facts.mean, facts.std, facts.encoder.channels or 3)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.normalise.get_buffer("mean").device

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> Encoded:
        """Encode whole images, nothing hidden and nothing dropped."""
        patches = patchify(self.normalise(images), self.encoder.patch_size)
        ids = all_ids(len(patches), patches.shape[1], patches.device)
        return self.encoder(patches, ids, self.encoder.grid)

    def classifier(self, drop_ratio: float) -> "Classifier":
        """The classifier at a drop ratio; it shares the weights. Raises ValueError for a model without one."""
        if self.facts.classes is None:
            raise ValueError("these weights are an encoder without a classifier; fine-tune it first: pcae finetune")
        return Classifier(reduce(self.encoder.vit, drop_ratio), self.normalise)


class Classifier(nn.Module):
    """Logits of images as they are read, with token reduction."""

    def __init__(self, reduced: ReducedViT, normalise: Normalise) -> None:
        super().__init__()
        self.reduced, self.normalise = reduced, normalise

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Classify whole images."""
        return self.reduced(self.normalise(images))


def build_model(facts: PretrainedFacts) -> Pretrained:
    """A model of the architecture that `facts` describe, with timm's initial weights: to be filled by a file's tensors.

    Raises ValueError for an architecture that cannot be.
    """
    vit = build_vit(facts.encoder, len(facts.classes or ()), facts.global_pool, facts.norm_eps)
    return Pretrained(Encoder(vit), facts)


def build_vit(config: EncoderConfig, classes: int, global_pool: str, norm_eps: float | None) -> VisionTransformer:
    """timm's model of these sizes, pooling and classes, with timm's initial weights."""
    vit = create_vit(config, channels=config.channels or 3, num_classes=classes, global_pool=global_pool)
    if norm_eps is not None:
        for part in vit.modules():
            if isinstance(part, nn.LayerNorm):
                part.eps = norm_eps
    return vit
