"""`pcae worth`: whether pre-training is worth it for some images, within so many minutes."""

from pcae.comparison.worth.result import Worth
from pcae.comparison.worth.worth import worth
from pcae.results import print_result
from pcae.settings.verbs.compare import WorthConfig
from pcae.terminal import answer, console


def choose_recipe(_: WorthConfig) -> str:
    """What `--recipe auto` stands for: what is done without a recipe."""
    return ""


def run(config: WorthConfig) -> None:
    """Find out, and print the table and the verdict."""
    answer(worth(config), config.json, show)


def show(found: Worth) -> None:
    """Print everything, and where the page is."""
    print_result(found)
    console.print(f"written: {found.page}, worth.json beside it")
