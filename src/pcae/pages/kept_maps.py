"""All that `pcae show` shows of some images, before any of it is drawn."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from pcae.evaluation.features_rgb import features_rgb
from pcae.evaluation.kept import BATCH, Kept, Way, decide
from pcae.model.pretrained import Pretrained
from pcae.model.tokens import Grid
from pcae.pictures.heat import Scale, scale_of
from pcae.terminal import bar

LONGEST = 80
"""Characters of a file's name."""


@dataclass(frozen=True)
class KeptMaps:
    """What is shown of the images.

    names: of the images; files: of the pictures of each, without suffix. kept: by mode, then by drop ratio. scales: of
    the scores, by mode. colours: of the features of whole images, and the share of their variance that red, green and
    blue explain.
    """

    pixels: UInt8[Tensor, "images channels height width"]
    names: list[str]
    files: list[str]
    grid: Grid
    ways: list[Way]
    kept: dict[str, dict[float, Kept]]
    scales: dict[str, Scale]
    colours: UInt8[Tensor, "images rows columns 3"]
    explained: list[float]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]


def look(
    model: Pretrained,
    ways: list[Way],
    pixels: UInt8[Tensor, "images channels height width"],
    names: list[str],
    seed: int,
) -> KeptMaps:
    """Decide in every way at every drop ratio, and look at the features of the whole images."""
    asked = [(way, ratio) for way in ways for ratio in way.ratios()]
    kept: dict[str, dict[float, Kept]] = {way.name: {} for way in ways}
    for step in bar("deciding")(range(len(asked))):
        way, ratio = asked[step]
        kept[way.name][ratio] = decide(way, pixels, ratio, seed)
    scales = {way.name: scale_of(way.score, kept[way.name].values()) for way in ways}
    with torch.inference_mode():
        tokens = [model(part.to(model.device)).tokens.float().cpu() for part in pixels.split(BATCH)]
    colours, explained = features_rgb(torch.cat(tokens))
    grid = model.encoder.grid
    return KeptMaps(pixels, names, file_names(names), grid, ways, kept, scales, colours.unflatten(1, grid), explained)


def file_names(names: list[str]) -> list[str]:
    """A name for each image's pictures, which every file system takes and which no other has, whatever its case."""
    made: list[str] = []
    taken = {"index"}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name.rpartition(".")[0] or name).strip("-")[:LONGEST] or "image"
        plain = f"image-{plain}" if plain.lower().startswith("sheet-") else plain
        number, chosen = 1, plain
        while chosen.lower() in taken:
            number += 1
            chosen = f"{plain}-{number}"
        taken.add(chosen.lower())
        made.append(chosen)
    return made
