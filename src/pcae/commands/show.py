"""`pcae show`: what a model keeps of images, stage by stage, as pictures and one page with sliders."""

from pcae.inference.show import Shown, show_kept
from pcae.settings.verbs.show import ShowConfig
from pcae.terminal import answer, console


def run(config: ShowConfig) -> None:
    """Draw, and say what was written."""
    answer(show_kept(config), config.json, show)


def show(found: Shown) -> None:
    """Say what was written."""
    console.print(f"{len(found.images)} images, as .png and .svg, and sheets of them in {found.out}")
    console.print(f"to look at them stage by stage: {found.page}")
