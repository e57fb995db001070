"""`pcae explore`: a page on this machine to look through images: search, kept tokens, the dial, marks."""

import sys

from pcae.exploring.explore import Opened, explore
from pcae.settings.verbs.show import ExploreConfig
from pcae.terminal import answer


def run(config: ExploreConfig) -> None:
    """Open the page, say where, and answer until interrupted."""

    def say(opened: Opened) -> None:
        answer(opened, config.json, show)
        sys.stdout.flush()  # the command goes on

    explore(config, say)


def show(opened: Opened) -> None:
    """Say where the page is."""
    print(f"{opened.images} images to explore, until Ctrl-C: {opened.address}")
