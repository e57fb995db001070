"""The page of `--to web`, as it lies in `web` beside this file: all else it reads from the folder that it is put in."""

from importlib import resources

FILES = ("index.html", "page.mjs", "pixels.mjs", "worker.mjs")
"""The page, its script, the one that reads pictures as pcae does, and the one that computes beside it."""


def page_files() -> dict[str, bytes]:
    """The page by its files' names."""
    folder = resources.files("pcae.pages") / "web"
    return {name: (folder / name).read_bytes() for name in FILES}
