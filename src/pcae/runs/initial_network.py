"""Where fine-tuning starts: other weights, or a new network."""

from dataclasses import dataclass, replace
from typing import cast

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.network import EncoderConfig, NetworkConfig
from pcae.weights.files import find
from pcae.weights.loaded import Loaded
from pcae.weights.matching import fit


@dataclass(frozen=True)
class InitialNetwork:
    """What is known of the network before the first image is read.

    found: the weights that say what it is; None for a new network. random: they are not loaded.
    """

    encoder: EncoderConfig
    found: Loaded | None
    random: bool

    @property
    def source(self) -> str:
        """Where the network comes from, in words."""
        if self.found is None:
            return f"a new {self.encoder.model} with random weights"
        return f"random weights, of the architecture of {self.found.source}" if self.random else self.found.source

    @property
    def facts(self) -> PretrainedFacts | None:
        """What the weights say of their data."""
        return self.found.facts if self.found else None


def load_network(weights: str | None, from_scratch: bool, network: NetworkConfig) -> InitialNetwork:
    """The weights, or with `from_scratch` random weights: of their architecture, or of the network that is described.

    Raises ValueError when neither is there, or when both say what the network is.
    """
    if weights is None:
        if not from_scratch:
            raise ValueError("weights are missing; give --weights W, or --from-scratch for random weights")
        return InitialNetwork(network.encoder(), None, True)
    if replace(network, image_size=None) != NetworkConfig():
        raise ValueError("a network is described, but the weights say what it is; use --from-scratch without --weights")
    found = find(weights)
    size = network.image_size or found.facts.encoder.image_size
    return InitialNetwork(replace(found.facts.encoder, image_size=size), found, from_scratch)


def fill_classifier(vit: VisionTransformer, initial: InitialNetwork, classes: list[str]) -> list[str]:
    """Put the starting weights in place; a classifier of other classes starts anew. Returns what was matched."""
    report = []
    if initial.found is None or initial.random:
        fit(vit, build_encoder(initial.encoder).vit.state_dict())
    else:
        report = [*fit(vit, initial.found.tensors, initial.found.grid).describe(), *initial.found.remarks]
    if initial.random or initial.facts is None or initial.facts.classes != classes:
        head = cast(nn.Linear, vit.head)
        nn.init.trunc_normal_(head.weight, std=2e-5)  # as MAE does: the first predictions are even
        nn.init.zeros_(head.bias)
    return report
