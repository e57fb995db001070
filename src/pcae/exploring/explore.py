"""`pcae explore` from settings to a page that answers: the port is taken, the images are embedded, then it is open."""

import os
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

import torch

from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import embed_in_batches
from pcae.evaluation.kept import Way
from pcae.exploring.answers import Answers
from pcae.exploring.explored import Explored
from pcae.exploring.marks import check_list, marked_before
from pcae.exploring.server import LocalServer
from pcae.inference.show import find_teacher
from pcae.inference.trained import open_shown, open_trained, say_left_out
from pcae.model.pretrained import Pretrained
from pcae.pages.kept_tokens import modes_of, run_folder, settled, ways_of
from pcae.settings.sources import in_words, quoted
from pcae.settings.trained import KeepingConfig, TrainedConfig
from pcae.settings.values import expand
from pcae.settings.verbs.show import ExploreConfig
from pcae.terminal import bar


@dataclass(frozen=True)
class Opened:
    """Where the page is, of how many images, and why others are left out, by name."""

    address: str
    images: int
    bad_files: dict[str, str]


def explore(config: ExploreConfig, say: Callable[[Opened], None]) -> None:
    """Open the page and answer until interrupted. say: is told where it is.

    Raises ValueError for what cannot be, and when too many images cannot be read.
    """
    check_list(config.out)
    with LocalServer(config.port) as server:
        answers, bad_files = ready(config)
        say(Opened(server.address, len(answers.explored.images), bad_files.by_name()))
        if config.browser and has_display():
            Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()  # one in a terminal would wait
        server.serve(answers)


def ready(config: ExploreConfig) -> tuple[Answers, BadFiles]:
    """All that the page asks for, and the images that cannot be read."""
    model = open_trained(config.model)
    way = way_of(config.model, model)
    bad_files = opened_images(config, model)
    marked = marked_before(config.out, bad_files.images)
    explored = embedded(config, model, way, bad_files)
    return Answers(explored, config.out, in_words(config.data), config.model.weights, marked), bad_files


def opened_images(config: ExploreConfig, model: Pretrained) -> BadFiles:
    """The images, with nothing found unreadable yet. Raises ValueError for a stream."""
    bad_files = open_shown(config.data, config.shown, model)
    if bad_files.images.stream is not None:
        raise ValueError(
            f"data {quoted(config.data)} is a stream, which is read in order; explore opens images in any order: give "
            "it a folder, a list or the .tar files"
        )
    return bad_files


def embedded(config: ExploreConfig, model: Pretrained, way: Way, bad_files: BadFiles) -> Explored:
    """The images that can be read, with their features; names the others."""
    found = embed_in_batches(
        model,
        bad_files,
        config.pool,
        batch_size=config.batch_size,
        workers=config.shown.workers,
        follow=bar("embedding"),
    )
    features = torch.cat([values for _, values in found])
    say_left_out(bad_files)
    return Explored(model, bad_files.images.without(bad_files.found), features.numpy(), way, config.pool)


def way_of(config: TrainedConfig, model: Pretrained) -> Way:
    """How tokens are dropped: by the classifier, else as the teacher does on whole images, with the run's settings."""
    run = run_folder(expand(config.weights))
    teacher = None if model.classes else find_teacher(config, model, run)[0]
    keeping = settled(KeepingConfig(modes=("classifier",) if model.classes else ("whole",)), run)
    (way,) = ways_of(keeping, modes_of(keeping, model), model, teacher)
    return way


def has_display() -> bool:
    """Whether somebody sits before this machine: there is a terminal, and a display for a browser."""
    shown = sys.platform in {"darwin", "win32"} or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return bool(shown) and sys.stderr.isatty()
