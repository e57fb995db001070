"""One HTML page that stands alone: every stage at every drop ratio, with sliders."""

from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from pcae.evaluation.kept import Kept, Way
from pcae.pages.html import picture_address, write_html
from pcae.pages.kept_maps import KeptMaps
from pcae.pictures.heat import BLANK, levels, palette
from pcae.pictures.stages import to_rgb

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
"""A character for each step of a scale, and for how far a position came."""
SMALL = 64
"""Longer side in pixels up to which images stand in the page as they are; larger ones are compressed."""
ABOUT = {
    "masked": "teacher: hidden",
    "whole": "teacher: whole",
    "classifier": "classifier",
}


def write_page(path: Path, maps: KeptMaps, sources: list[str]) -> None:
    """Write the page in one move."""
    shares = [f"{100 * share:.0f} %" for share in maps.explained]
    values = {"names": maps.names, "sources": sources, "explained": shares, "about": ABOUT}
    write_html(path, "show.html", **values, data=packed(maps))


def packed(maps: KeptMaps) -> dict[str, Any]:
    """What the script of the page draws."""
    return {
        "grid": maps.grid,
        "size": maps.size,
        "images": [address_of(picture) for picture in to_rgb(maps.pixels)],
        "features": [address_of(colours) for colours in maps.colours],
        "modes": {way.name: packed_way(maps, way) for way in maps.ways},
        "palette": ["#" + bytes(colour).hex() for colour in palette().tolist()],
        "blank": "#" + bytes(BLANK).hex(),
        "digits": DIGITS,
    }


def packed_way(maps: KeptMaps, way: Way) -> dict[str, Any]:
    """The steps of the stage slider and, by drop ratio, all decisions in one mode.

    A step's level: -1 is the whole image, 0 what is shown to the network, n what stays after stage n.
    """
    kept, scale = maps.kept[way.name], maps.scales[way.name]
    steps = [["input", -1]] + ([[way.first, 0]] if way.first else [])
    steps += [[f"after block {block}", stage + 1] for stage, block in enumerate(way.after)]
    return {
        "steps": steps,
        "ratios": list(kept),
        "asked": list(kept).index(way.ratio),
        "decided": [decided(maps, way, one) for one in kept.values()],
        "scale": {"label": scale.label, "low": f"{scale.low:.3g}", "high": f"{scale.high:.3g}"},
    }


def decided(maps: KeptMaps, way: Way, kept: Kept) -> list[dict[str, Any]]:
    """For each image how far every position came, and the scores that each stage gave to what it saw, as digits."""
    rows, columns = maps.grid
    fates = kept.fates(rows * columns).tolist()
    drawn = [levels(stage, maps.scales[way.name]).tolist() for stage in kept.stages]
    scored = kept.stages[0].scores.isfinite().all()
    return [
        {
            "fates": "".join(DIGITS[fate] for fate in fates[image]),
            "scores": ["".join(DIGITS[level] for level in stage[image]) for stage in drawn] if scored else [],
        }
        for image in range(len(fates))
    ]


def address_of(picture: UInt8[Tensor, "height width 3"]) -> str:
    """A picture as a data address."""
    kind, options = ("png", {}) if max(picture.shape[:2]) <= SMALL else ("jpeg", {"quality": 88})
    return picture_address(Image.fromarray(picture.contiguous().numpy()), kind, **options)
