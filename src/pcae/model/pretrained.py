"""A trained model with the normalisation of its data: uint8 images in, features or logits out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pcae.data.augment import Normalise
from pcae.model.backbones import ViT
from pcae.model.blocks import Encoded
from pcae.model.checks import check_shape
from pcae.model.criteria import stage_counts
from pcae.model.decoder import Decoder
from pcae.model.encoder import Encoder, create_vit, set_norm_eps
from pcae.model.reduced import ReducedViT, reduce
from pcae.model.tokens import Grid
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.trained import TRAINING_FREE, Rule

Predicts = Literal["pixels", "features"]
"""What a decoder predicts: the values of patches, or a teacher's features of them."""


@dataclass(frozen=True, kw_only=True)
class PretrainedFacts:
    """What a file of weights says of itself beside its tensors.

    pixel_range: values of 16-bit and float pixels that become black and white. classes: names of a classifier's logits,
    in order; None is an encoder without a classifier. global_pool: timm's name of its pooling, "" for none.
    drop_ratios: least and most drop ratio that it was fine-tuned with. rule: how it drops tokens. crop_pct: share of an
    image's shorter side that is looked at. norm_eps: epsilon of the norms, where it is not the one that timm gives the
    architecture. multi_label: whether each logit says by its sigmoid that a class is there, instead of all by their
    softmax which one is.
    """

    encoder: EncoderConfig
    mean: list[float]
    std: list[float]
    pixel_range: tuple[float, float] | None = None
    bands: tuple[int, ...] | None = None
    classes: list[str] | None = None
    global_pool: str = ""
    drop_ratios: tuple[float, float] = (0.0, 0.0)
    rule: Rule = TRAINING_FREE
    crop_pct: float = 1.0
    norm_eps: float | None = None
    multi_label: bool = False

    def probabilities(self, logits: Float[Tensor, "images classes"]) -> Float[Tensor, "images classes"]:
        """What a classifier's logits say: softmax over the classes, or the sigmoid of each."""
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)


@dataclass(frozen=True, kw_only=True)
class DecoderFacts:
    """What a decoder's file says of itself beside its tensors.

    norm_eps: epsilon of the norms. norm_pix_loss: whether the pixels of each patch were normalised by themselves;
    None where nobody says, and for features.
    """

    decoder: DecoderConfig
    predicts: Predicts
    norm_eps: float = 1e-6
    norm_pix_loss: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedDecoder:
    """The decoder that an encoder was trained with: tensors in `Decoder`'s names, on the CPU."""

    tensors: dict[str, Tensor]
    facts: DecoderFacts

    @property
    def in_dim(self) -> int:
        """Width of the encoder's tokens."""
        return self.tensors["adapter.weight"].shape[1]

    @property
    def out_dim(self) -> int:
        """Width of the predictions."""
        return self.tensors["head.weight"].shape[0]

    @property
    def width(self) -> int:
        """Width of its own tokens."""
        return self.facts.decoder.decoder_width

    @property
    def depth(self) -> int:
        """Number of blocks."""
        assert self.facts.decoder.decoder_depth is not None  # a file says it
        return self.facts.decoder.decoder_depth


class Pretrained(nn.Module):
    """A model that takes images as they are read and knows what it was trained on.

    decoder: the one that it was trained with, where the weights hold it; it takes no part in `forward`.
    """

    def __init__(self, encoder: Encoder, facts: PretrainedFacts, decoder: TrainedDecoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.facts = facts
        self.decoder = decoder
        self.normalise = Normalise(facts.mean, facts.std, facts.encoder.channels or 3)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.normalise.get_buffer("mean").device

    @property
    def classes(self) -> list[str]:
        """Names of the classifier's logits, in order; none of an encoder without a classifier."""
        return self.facts.classes or []

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> Encoded:
        """Encode whole images, nothing hidden and nothing dropped. Raises ValueError for another size or type."""
        check_shape(images, self.encoder.channels, self.encoder.image_size)
        return self.encoder(self.normalise(images))

    def classifier(self, drop_ratio: float | Sequence[float], **rule: Any) -> "Classifier":
        """The classifier at a drop ratio, sharing the weights. rule: criterion, fold, after and before_mlp as in
        `reduce`; without them as in its facts.

        Raises ValueError for a model without one, for pooling that does not fit it, and for more than can be dropped.
        """
        if self.facts.classes is None:
            raise ValueError("these weights are an encoder without a classifier; fine-tune it first: pcae finetune")
        reduced = reduce(self.encoder.vit, drop_ratio, **vars(self.facts.rule.but(rule)))
        stage_counts(prod(self.encoder.grid), reduced.reduction, reduced.num_prefix_tokens)  # refused before any work
        return Classifier(reduced, self.normalise, self.facts.classes)


def as_encoder(model: nn.Module) -> Encoder:
    """The encoder that a model is or has, no copy of it: an Encoder, a Pretrained, or timm's VisionTransformer.

    Raises ValueError for other families, by name.
    """
    if isinstance(model, Pretrained):
        return model.encoder
    return model if isinstance(model, Encoder) else Encoder(model)


class Classifier(nn.Module):
    """Logits of images as they are read, with token reduction. classes: their names, in order."""

    def __init__(self, reduced: ReducedViT, normalise: Normalise, classes: Sequence[str] = ()) -> None:
        super().__init__()
        self.reduced, self.normalise, self.classes = reduced, normalise, list(classes)

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Classify whole images. Raises ValueError for another size or type."""
        encoder = Encoder(self.reduced.vit)
        check_shape(images, encoder.channels, encoder.image_size)
        return self.reduced(self.normalise(images))


def build_model(facts: PretrainedFacts, decoder: TrainedDecoder | None = None) -> Pretrained:
    """A model of the architecture that `facts` describe, with timm's initial weights: to be filled by a file's tensors.

    Raises ValueError for an architecture that cannot be.
    """
    vit = build_vit(facts.encoder, len(facts.classes or ()), facts.global_pool, facts.norm_eps)
    return Pretrained(Encoder(vit), facts, decoder)


def build_vit(config: EncoderConfig, classes: int, global_pool: str, norm_eps: float | None) -> ViT:
    """timm's model of these sizes, pooling and classes, with timm's initial weights."""
    vit = create_vit(config, channels=config.channels or 3, num_classes=classes, global_pool=global_pool)
    if norm_eps is not None:
        set_norm_eps(vit, norm_eps)
    return vit


def build_decoder(trained: TrainedDecoder, grid: Grid) -> Decoder:
    """The decoder with its tensors, for a grid. Raises ValueError or RuntimeError when they do not fit."""
    facts = trained.facts
    decoder = Decoder(facts.decoder, in_dim=trained.in_dim, out_dim=trained.out_dim, grid=grid, norm_eps=facts.norm_eps)
    decoder.load_state_dict(trained.tensors, assign=True)
    return decoder.eval()
