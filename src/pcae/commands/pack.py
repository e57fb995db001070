"""`pcae pack`: images decoded and shrunk once, into a folder that every verb takes as DATA."""

from typing import Any

from pcae.data.packed.reading import BAD_FILES
from pcae.sharing.packing import pack_images
from pcae.terminal import command, console


def show(found: dict[str, Any]) -> None:
    """Say what stands there."""
    splits = found["splits"]
    counts = " + ".join(f"{facts['images']} {name}" for name, facts in splits.items())
    console.print(f"{counts} images, {found['bytes'] / 1e6:.4g} MB in {found['out']}")
    bad = sum(facts["bad_files"] for facts in splits.values())
    if bad:
        console.print(f"{bad} could not be read and were left out, see {found['out']}/{BAD_FILES}")


run = command(pack_images, show)
"""Pack, or go on, or say that it is done."""
