"""Requests of the page -> what `Explored` knows, one at a time."""

import secrets
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from pcae.exploring.explored import Explored
from pcae.exploring.marks import can_be_marked, write_marked
from pcae.exploring.server import MOST_BYTES, Reply, Request, fault, in_json
from pcae.pages.html import page_of
from pcae.pictures.heat import BLANK
from pcae.settings.text import visible

PAGE = 60
"""Images of a page of the grid."""


class Answers:
    """Answers requests. out: the list that is written, whatever the page says. marked: names of images in it already.

    data, weights: what the page is of, in words.
    """

    def __init__(self, explored: Explored, out: Path, data: str, weights: str, marked: set[str]) -> None:
        self.explored, self.out = explored, out
        self.marked = [index for index, name in enumerate(explored.images.names) if name in marked]
        self.data, self.weights = visible(data), visible(weights)
        self.lock = Lock()
        self.reads: dict[tuple[str, int], Callable[..., Reply]] = {
            ("", 0): self.page,
            ("images", 1): lambda start: in_json(self.names(start)),
            ("thumbnail", 1): lambda index: Reply(explored.thumbnail(index), "image/jpeg"),
            ("picture", 1): lambda index: Reply(explored.picture(index), "image/png"),
            ("near", 1): lambda index: in_json(explored.near(index)),
            ("look", 2): lambda index, place: in_json(explored.looked_at(index, place)),
        }
        self.takes: dict[tuple[str, int], Callable[[bytes], Reply]] = {
            ("upload", 0): lambda content: in_json(explored.take_in(content)),
            ("marked", 0): lambda content: in_json(self.write(content)),
        }

    def __call__(self, request: Request) -> Reply:
        """The answer to a request. Raises ValueError for one that says what cannot be."""
        word, *others = request.words or ("nothing",)
        asked, getting = (word, len(others)), request.method == "GET"
        if asked not in (self.reads if getting else self.takes):
            return fault(404, "nothing is there")
        with self.lock:
            return self.reads[asked](*map(number, others)) if getting else self.takes[asked](request.body)

    def page(self) -> Reply:
        """The page itself, which asks for all else."""
        explored, nonce = self.explored, secrets.token_urlsafe(16)
        said = {
            "images": len(explored.images),
            "page": PAGE,
            "ratios": explored.ratios,
            "asked": explored.ratios.index(explored.way.ratio),
            "grid": explored.model.encoder.grid,
            "size": explored.model.encoder.image_size,
            "blank": "#" + bytes(BLANK).hex(),
            "marked": self.marked,
            "most": MOST_BYTES,
        }
        words = {"data": self.data, "weights": self.weights, "out": visible(str(self.out)), "how": explored.way}
        page = page_of("explore.html", said=said, nonce=nonce, to_mark=can_be_marked(explored.images), **words)
        return Reply(page, "text/html; charset=utf-8", nonce=nonce)

    def names(self, start: int) -> list[str]:
        """The names of a page of the grid."""
        stop = min(start + PAGE, len(self.explored.images))
        return [self.explored.name(index) for index in range(start, stop)]

    def write(self, content: bytes) -> dict[str, Any]:
        """Write the list of marked images, by their numbers with blanks between them."""
        marked = sorted({number(word) for word in content.decode("latin-1").split()})
        write_marked(self.out, self.explored.images, marked)
        self.marked = marked
        return {"images": len(marked), "out": visible(str(self.out))}


def number(word: str) -> int:
    """A place. Raises ValueError for what is none."""
    if not (word.isascii() and word.isdecimal()) or len(word) > 12:
        raise ValueError(f"{word[:20]!r} is no number of an image")
    return int(word)
