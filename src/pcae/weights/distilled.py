"""DeiT with two classifiers, one on its distillation token: timm's distilled model, whose logits are their mean."""

from dataclasses import replace

from pcae.model.architecture import parts_of, with_options
from pcae.weights.loaded import Network
from pcae.weights.structure import pooled

NAMES = {384: "deit_small_distilled_patch16_224", 768: "deit_base_distilled_patch16_224"}
"""timm's names by width; they differ in sizes alone."""
OTHERWISE = "deit_tiny_distilled_patch16_224"
"""The name for other widths, whose sizes are said beside it."""
TOKEN, CLASSIFIER = "dist_token", "head_dist.weight"
"""The distillation token and its classifier, in timm's names."""


def as_distilled(network: Network) -> Network:
    """The network with its second token as the distillation token, where a classifier is on each of both.

    Without them that token is a register, which computes the same features.
    """
    model, options = parts_of(network.encoder.model)
    if not {"head.weight", CLASSIFIER} <= network.tensors.keys() or options.pop("reg_tokens", 0) != 1:
        return network
    tensors = {TOKEN if name == "reg_token" else name: value for name, value in network.tensors.items()}
    model = with_options(NAMES.get(network.encoder.width or 0, OTHERWISE), options)
    granted = tuple(what for what in network.granted if what not in pooled("token"))  # there is one on each token
    encoder = replace(network.encoder, model=model)
    return replace(network, tensors=tensors, encoder=encoder, global_pool="token", granted=granted)
