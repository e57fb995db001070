"""`pcae recipes`: the named settings that come with pcae, by verb, and what each is for."""

from pcae.settings.recipes import AUTO, purposes
from pcae.terminal import command


def show(found: dict[str, dict[str, str]]) -> None:
    """A line for each recipe below the verb that takes it."""
    for verb, recipes in found.items():
        print(f"pcae {verb} --recipe NAME")
        for name, what in {AUTO: "Picks one by the images and the device.", **recipes}.items():
            print(f"  {name:<25} {what}")


run = command(lambda _: purposes(), show)
"""Print the recipes of each verb that takes some."""
