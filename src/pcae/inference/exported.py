"""What came of an export: how the check came out, and how a file of smaller numbers does beside the one in fp32."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pcae.evaluation.throughput import turns
from pcae.results import Block, Result, Table
from pcae.settings.choices import ExportFormat, Precision, Runtime
from pcae.settings.trained import Rule
from pcae.weights.export.formats import FORMATS
from pcae.weights.export.onnx_files import session_of

BATCHES = (1, 16)
"""Images at once that speed is measured on."""
SPEED = "images_per_second_"
"""What the names of speeds begin with; the images at once follow."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Exported(Result):
    """What was written, for what, and how the check came out. output: what the model answers, in words. data: the
    images of the check, as they were named; calibration: those that set the ranges of int8, and how many these are.
    files: size and speed of the file, and of the same in fp32. compared_at: drop ratios at which images were compared,
    each image once at each of them.
    """

    out: Path
    to: ExportFormat
    output: str
    classes: list[str] | None
    image_size: tuple[int, int]
    channels: int
    drop_ratio: float
    rule: Rule
    compared_at: list[float]
    precision: Precision
    runtime: Runtime | None
    data: str
    check: dict[str, Any]
    calibration: str | None = None
    calibration_images: int | None = None
    files: list[dict[str, Any]] = field(default_factory=list)

    def blocks(self) -> list[Block]:
        """What was compared, and how large and fast the files are."""
        reduces = FORMATS[self.to].reduces
        ratio = f" at drop ratio {', '.join(f'{one:g}' for one in self.compared_at)}" if reduces else ""
        title = f"{self.out}, {self.precision}, against PyTorch{ratio}"
        table = Table(title, ["check", "result"], [*self.answers(), *self.tokens(), *self.images()])
        page = [f"to look at it: python -m http.server -d {self.out}"] if self.to == "web" else []
        return [table, *([file_table(self.files)] if self.files else []), *page]

    def answers(self) -> list[list[str]]:
        """How far the answers are off."""
        check = self.check
        rows = [[f"largest difference of the {self.output}", f"{check['max_difference']:.2g}"]]
        rows += [["allowed for an export", check["limit"]]]
        if check["same_top1"] is not None:
            rows += [["images of the same most likely class", f"{check['same_top1']} of {check['images']}"]]
        elif self.precision != "fp32":
            rows += [["least cosine similarity", f"{check['least_cosine']:.5f}"]]
        return rows

    def tokens(self) -> list[list[str]]:
        """For how many images the same tokens stay, where that is asked."""
        check = self.check
        if check["same_kept"] is None or not any(self.compared_at):
            return []
        return [
            ["images that keep the same tokens", f"{check['same_kept']} of {check['images']}"],
            ["images that differ by a tie of scores", f"{check['ties']}"],
        ]

    def images(self) -> list[list[str]]:
        """On which images all this is."""
        read = [["read by", "OpenVINO"]] if self.runtime == "openvino" else []
        rows = [*read, ["images of the check", f"{self.check['images']} of {self.data}"]]
        if self.calibration is not None:
            rows += [["images of the calibration", f"{self.calibration_images} of {self.calibration}"]]
        return rows

    def records(self) -> list[dict[str, Any]]:
        """One row: what was written, and the check."""
        own = {
            name: value
            for name, value in vars(self).items()
            if name not in ("check", "classes", "files", "compared_at")
        }
        return [own | {"rule": asdict(self.rule)} | self.check]


def file_table(files: list[dict[str, Any]]) -> Table:
    """Size and speed of files, side by side."""
    speeds = [name for name in files[0] if name.startswith(SPEED)]
    columns = ["file", "MB", "of fp32", *(f"images/s, {name.removeprefix(SPEED)} at once" for name in speeds)]
    rows = [
        [
            file["precision"],
            f"{file['bytes'] / 1e6:,.1f}",
            f"{file['bytes'] / files[0]['bytes']:.3f}",
            *(f"{file[name]:.1f}" for name in speeds),
        ]
        for file in files
    ]
    return Table("size, and speed in ONNX Runtime on this CPU, in turns", columns, rows)


def beside_fp32(places: Mapping[Precision, Path], images: Tensor, rounds: int) -> list[dict[str, Any]]:
    """Bytes and images per second of ONNX files, which take turns; the first is the one in fp32.

    images: some uint8 images, which are repeated. rounds: 0 for sizes alone.
    """
    files: list[dict[str, Any]] = [{"precision": name, "bytes": place.stat().st_size} for name, place in places.items()]
    sessions = {name: session_of(place) for name, place in places.items()} if rounds else {}
    for batch in BATCHES if rounds else ():
        pixels = images[torch.arange(batch) % len(images)].numpy()
        calls = {name: partial(one.run, None, {one.get_inputs()[0].name: pixels}) for name, one in sessions.items()}
        seconds = turns(calls, torch.device("cpu"), rounds)
        for file in files:
            file[f"{SPEED}{batch}"] = median(batch / spent for spent in seconds[file["precision"]])
    return files
