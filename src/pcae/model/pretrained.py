"""A trained encoder with the normalisation of its data: uint8 images in, features out."""

from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor, nn

from pcae.data.augment import Normalise
from pcae.model.encoder import Encoded, Encoder, EncoderConfig
from pcae.model.tokens import all_ids, patchify


@dataclass(frozen=True, kw_only=True)
class PretrainedFacts:
    """What a file of weights says of itself beside its tensors."""

    encoder: EncoderConfig
    mean: list[float]
    std: list[float]
    pixel_range: tuple[float, float] | None = None


class Pretrained(nn.Module):
    """An encoder that takes images as they are read and knows what it was trained on."""

    def __init__(self, encoder: Encoder, facts: PretrainedFacts) -> None:
        super().__init__()
        self.encoder = encoder
        self.facts = facts
        self.normalise = Normalise(facts.mean, facts.std, facts.encoder.channels or 3)

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> Encoded:
        """Encode whole images, nothing hidden and nothing dropped."""
        patches = patchify(self.normalise(images), self.encoder.patch_size)
        ids = all_ids(len(patches), patches.shape[1], patches.device)
        return self.encoder(patches, ids, self.encoder.grid)
