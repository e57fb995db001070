"""What a format of exported models is: who writes it, who reads it again, and how close the answers must be."""

from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pcae.model.pretrained import Pretrained
from pcae.settings.choices import Precision
from pcae.weights.export.deployed import whole_answer
from pcae.weights.export.parity import Reference, Reopened


class Part(NamedTuple):
    """A file of an export that is compared by itself: its format, its drop ratio, and where it is."""

    form: "Format"
    drop_ratio: float
    place: Path


class Format(ABC):
    """A format.

    suffix: of its file; none for a folder. packages: what it needs beside pcae's own. reduces: whether it can drop
    tokens. tolerance: largest difference of logits or features, as a share of the largest of them. precision: of the
    numbers that it holds.
    """

    suffix: str | None = None
    packages: tuple[str, ...] = ()
    reduces: bool = False
    tolerance: float = 1e-5
    precision: Precision = "fp32"

    @abstractmethod
    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write a model, which has passed `check`, to a file or into an empty folder."""

    @abstractmethod
    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """What was written, read and run by the program that the format is for."""

    def said(self, place: Path) -> dict[str, Any]:
        """What a file says of how its model answers: `drop_ratio` and `rule`, where it does."""
        return {}

    def parts(self, model: Pretrained, drop_ratio: float, place: Path) -> list[Part]:
        """What is compared of it, each at its drop ratio."""
        return [Part(self, drop_ratio, place)]

    def check(self, model: Pretrained) -> None:  # noqa: B027  # most hold every model
        """Raise ValueError, with the remedy, for a model that the format cannot hold."""

    def reference(self, model: Pretrained, drop_ratio: float) -> Reference:
        """What the answers are held against."""
        return partial(whole_answer, model)

    def remarks(self, model: Pretrained) -> list[str]:
        """What the written model will do otherwise."""
        return []

    def answers(self, model: Pretrained) -> str:
        """What is compared, in words."""
        return "features" if model.facts.classes is None else "logits"
