"""What is compared: which rows there are for some weights, how each is pre-trained, and under which licence."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import timm

from pcae.comparison.worth.verdict import TRAINED, Kind
from pcae.data.images import Images
from pcae.evaluation.recipe_choice import recipe_for, typical_side
from pcae.settings.given import Given
from pcae.settings.recipes import AUTO, read_recipe
from pcae.settings.verbs.compare import WorthConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.distributed import pick_device
from pcae.weights.timm_models import START

SMALL_BATCH = 32
"""Images of a step on a CPU, where a recipe for public weights has more."""
OURS = "yours"
"""Licence of what is made here of your images alone."""


@dataclass(frozen=True)
class Row:
    """A row. weights: that it is of, or begins with, or learns from. pretrain: settings of its pre-training, or of the
    network with random weights. licence: of the weights. says: how it is made."""

    name: str
    kind: Kind
    weights: str | None = None
    pretrain: dict[str, Any] = field(default_factory=dict)
    licence: str = OURS
    says: str = ""

    @property
    def trained(self) -> bool:
        """Whether it is pre-trained on these images."""
        return self.kind in TRAINED

    @property
    def tunable(self) -> bool:
        """Whether there is something to fine-tune."""
        return self.kind != "pixels"


def rows_of(config: WorthConfig, images: Images) -> list[Row]:
    """The rows, cheap ones first. Raises ValueError for an unknown recipe."""
    base = recipe_of(config, images)
    size = {} if config.image_size is None else {"image_size": list(config.image_size)}
    network = {"recipe": base, **size}
    scratch = network if asks(config) else network | {"method": "mae", "decoder_depth": 1}
    said = f"recipe {base}" if asks(config) else f"MAE with one decoder block; network and rates of the recipe {base}"
    names = names_of(config.weights)
    given = [
        Row(name, "given", weights, licence=licence_of(weights), says="as they are")
        for name, weights in zip(names, config.weights, strict=True)
    ]
    return [
        Row("raw pixels", "pixels", says="no network"),
        Row(
            "random weights", "random", pretrain=network, says=f"network of the recipe {base}; fine-tuned: from scratch"
        ),
        *given,
        Row("pre-trained from scratch", "pretrained", pretrain=scratch, says=said),
        *(continued(row, size, config.device) for row in given),
        *(distilled(row, network, base) for row in given),
    ]


def asks(config: WorthConfig) -> bool:
    """Whether another recipe is asked for than the usual one."""
    return config.recipe not in (None, "", AUTO)


def recipe_of(config: WorthConfig, images: Images) -> str:
    """The recipe that says the network. Raises ValueError for one that is not known."""
    if asks(config):
        read_recipe(PretrainConfig, str(config.recipe))
        return str(config.recipe)
    device = pick_device(config.device)
    return recipe_for(config.data, len(images), typical_side(images), device).recipe


def continued(row: Row, size: dict[str, Any], device: str) -> Row:
    """The weights go on learning."""
    small = {"batch_size": SMALL_BATCH} if pick_device(device).type == "cpu" else {}
    settings = {"recipe": "continue", "init": row.weights, **size, **small}
    return Row(f"{row.name}, continued", "continued", row.weights, settings, row.licence, "recipe continue")


def distilled(row: Row, network: dict[str, Any], base: str) -> Row:
    """A small network learns the features of the weights."""
    settings = network | {"method": "pcae", "teacher": row.weights, "target_norm": "token", "decoder_depth": 1}
    says = f"the network of the recipe {base} predicts their features"
    return Row(f"{row.name}, distilled", "distilled", row.weights, settings, row.licence, says)


def names_of(weights: tuple[str, ...]) -> list[str]:
    """Short names of weights: the last part of each, or all of it where two are alike."""
    short = [
        one if isinstance(one, Given) else one.rstrip("/").rpartition("/")[2].removeprefix(START) for one in weights
    ]
    twice = Counter(short)
    return [name if twice[name] == 1 else str(whole) for name, whole in zip(short, weights, strict=True)]


def licence_of(weights: str) -> str:
    """The licence of public weights, as timm has it in its entry for them; of other weights nobody says it."""
    if not isinstance(weights, Given) and weights.startswith(START):
        said = timm.get_pretrained_cfg(weights.removeprefix(START), allow_unregistered=True)
        return (said and said.license) or "not known"
    return "not known"
