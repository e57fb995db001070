"""What a folder of transformers' says of its network and its images: sizes, mean and std, checked by the tensors."""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from pcae.settings.network import EncoderConfig
from pcae.settings.values import check_values
from pcae.weights.loaded import count_blocks
from pcae.weights.reading import CONFIG, read_json

PREPROCESSING, PROCESSOR = "preprocessor_config.json", "processor_config.json"


def pair(side: Any) -> tuple[Any, Any]:
    """Height and width, of a square where one number stands for both."""
    return (side[0], side[1]) if isinstance(side, list) and len(side) == 2 else (side, side)


def side_of(config: dict[str, Any]) -> int:
    """Pixels of a side where the number of patches stands for it."""
    return isqrt(config["num_patches"]) * config["patch_size"]


def known_sizes(config: dict[str, Any], folder: Path) -> tuple[tuple[int, int], int]:
    """Height and width of the images, and attention heads. Raises ValueError where they are no numbers."""
    sizes = {"image_size": pair(config["image_size"]), "heads": config["num_attention_heads"]}
    known = check_values(EncoderConfig, sizes, str(folder / CONFIG))
    return known["image_size"], known["heads"]


def check_depth(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Raise ValueError when there are not the blocks that the settings say: a million would be built first."""
    if pair(config["patch_size"])[0] != pair(config["patch_size"])[1]:
        raise ValueError(f"{folder}: patch_size is {config['patch_size']}; only square patches are read")
    found, said = count_blocks(tensors), config["num_hidden_layers"]
    if found != said:
        raise ValueError(f"{folder}: num_hidden_layers is {said!r}, but the weights have {found} blocks")


def check_same(
    config: dict[str, Any], found: EncoderConfig, first: Tensor, folder: Path, more: Mapping[str, bool] | None = None
) -> None:
    """Raise ValueError where settings and tensors do not say the same: one of them is of another model.

    first: the first layer of a block's MLP. more: settings, and what the tensors say of them.
    """
    hidden = config.get("intermediate_size") or int(config["hidden_size"] * config["mlp_ratio"])
    said = {
        "patch_size": (pair(config["patch_size"])[0], found.patch_size),
        "num_channels": (config["num_channels"], found.channels),
        "hidden_size": (config["hidden_size"], found.width),
        "intermediate_size": (hidden, first.shape[0]),
        **{name: (config[name], there) for name, there in (more or {}).items()},
    }
    for name, (theirs, there) in said.items():
        if theirs != there:
            raise ValueError(f"{folder}: {name} is {theirs!r}, but the weights are for {there}")


def preprocessing(folder: Path) -> tuple[Path, dict[str, Any]]:
    """What is done to images, and the file that says it. As in transformers 5, one for images and texts comes first."""
    path, both = folder / PREPROCESSING, folder / PROCESSOR
    said = read_json(both).get("image_processor") if both.is_file() else None
    if isinstance(said, dict):
        return both, said
    return path, read_json(path) if path.is_file() else {}


def statistics(folder: Path, channels: int) -> tuple[list[float], list[float], tuple[str, ...]]:
    """mean and std that pixels are normalised with, and what was taken for granted."""
    path, said = preprocessing(folder)
    if said.get("do_rescale") is False or abs(said.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3:
        raise ValueError(f"{path} does not scale pixels to [0, 1]; only do_rescale with rescale_factor 1/255 is read")
    if said.get("do_normalize") is False:
        return [0.0] * channels, [1.0] * channels, ()
    if said.get("image_mean") is not None and said.get("image_std") is not None:
        return said["image_mean"], said["image_std"], ()
    return [0.5] * channels, [0.5] * channels, (f"taken for granted: mean and std 0.5, as {path.name} names none",)
