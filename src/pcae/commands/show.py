"""`pcae show`: what a model keeps of images, stage by stage, as pictures and one page with sliders."""

from pcae.inference.show import Shown, show_kept
from pcae.terminal import command, console


def show(found: Shown) -> None:
    """Say what was written."""
    console.print(f"{len(found.images)} images, as .png and .svg, and sheets of them in {found.out}")
    console.print(f"to look at them stage by stage: {found.page}")


run = command(show_kept, show)
"""Draw, and say what was written."""
