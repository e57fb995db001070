"""All of the work, cheap parts first: frozen features, then training in the time that is left; finished cells stay."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pcae.comparison.cell import quiet
from pcae.comparison.rows import digest_of, fingerprint, identity
from pcae.comparison.worth.budget import FEWEST, Clock, Pace
from pcae.comparison.worth.cells import ALL, FINETUNED, FROZEN, Cell, cell_at
from pcae.comparison.worth.curve import POINTS
from pcae.comparison.worth.drawn import Drawn
from pcae.comparison.worth.features import Answers, Seen, probed
from pcae.comparison.worth.plan import Piece, affordable, unit_of
from pcae.comparison.worth.rows import Row
from pcae.comparison.worth.runs import MOST_EPOCHS, Runs
from pcae.data.images import open_images
from pcae.settings.given import Given
from pcae.sharing.contents import digest_of as digest_of_model
from pcae.terminal import console, duration

MEANT = 0.95
"""Share of the time left that runs are planned for; the rest is for what takes longer than it was measured to."""
ANY = 10**6
"""Steps of a run of which only the speed is wanted."""


@dataclass
class Work:
    """What is to be done, and what it came to. remarks: what was left out and why. seen: features by weights."""

    runs: Runs
    clock: Clock
    rows: list[Row]
    drawn: list[Drawn]
    remarks: list[str] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        more = self.runs.config.unlabelled
        self.beside = None if more is None else fingerprint(open_images(more, "train"))
        self.digests = {drawn.seed: drawn.files for drawn in self.drawn}
        self.of_rows = {row.name: decided(row) for row in self.rows}

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.runs.folder

    def frozen_cell(self, row: Row, drawn: Drawn) -> Cell:
        """The cell of features as they are; it does not depend on the minutes."""
        settings = {"images": self.digests[drawn.seed], "row": self.of_rows[row.name], "part": FROZEN}
        return cell_at(self.folder, row.name, drawn.seed, settings | self.size())

    def trained_cell(self, row: Row, drawn: Drawn) -> Cell:
        """The cell of what is trained: minutes, seeds and rows say its share of the time."""
        config = self.runs.config
        shared = {"minutes": config.minutes, "seeds": list(config.seeds), "rows": self.of_rows, "beside": self.beside}
        settings = {"images": self.digests[drawn.seed], "row": self.of_rows[row.name], "part": "trained", **shared}
        return cell_at(self.folder, row.name, drawn.seed, settings | self.size())

    def size(self) -> dict[str, Any]:
        """The size that is asked for."""
        return {"image_size": self.runs.config.image_size}

    def digest(self) -> str:
        """A short name of all of it."""
        config = self.runs.config
        return digest_of([config.minutes, list(config.seeds), self.of_rows, self.digests, self.beside, self.size()])

    def do(self) -> None:
        """Do all of it. What is gone of the time is written down whatever ends it."""
        try:
            self.freeze_all()
            self.train_all()
        finally:
            self.clock.remember()

    def freeze_all(self) -> None:
        """Features as they are, of every row that has some, with every seed."""
        for drawn in self.drawn:
            for row in (row for row in self.rows if not row.trained):
                cell = self.frozen_cell(row, drawn)
                if FROZEN not in cell.parts:
                    began = time.perf_counter()
                    right = self.frozen(row, drawn)
                    cell.seconds[ALL] = time.perf_counter() - began
                    cell.add(FROZEN, right, self.runs.world.device)
                    self.say(row, drawn, FROZEN, cell)

    def frozen(self, row: Row, drawn: Drawn) -> Answers:
        """What the features of a row get right."""
        with quiet():
            if row.kind == "pixels":
                return probed(self.seen["pixels"], ["pixels"], drawn, self.runs.world.device)
            if row.kind == "random":
                return self.runs.features(row, self.untrained(row, drawn), drawn)
            return self.runs.features(row, row.weights or "", drawn, self.seen.setdefault(row.name, Seen()))

    def untrained(self, row: Row, drawn: Drawn) -> Path:
        """The folder of a new network."""
        return self.runs.untrained(row, drawn, f"untrained-seed{drawn.seed}-{self.frozen_cell(row, drawn).digest}")

    def train_all(self) -> None:
        """What is to be trained, seed by seed, in equal shares of the time that is left."""
        wanted = [(row, drawn) for drawn in self.drawn for row in self.rows if row.tunable]
        if all(self.finished(row, drawn) for row, drawn in wanted):
            return
        pieces, remarks = affordable(
            self.measured_pieces(), len(self.drawn), self.clock.left() + self.trained_before(), self.runs.config.minutes
        )
        self.remarks += remarks
        waiting = [(piece, drawn) for drawn in self.drawn for piece in pieces if not self.done(piece, drawn)]
        while waiting:
            piece, drawn = waiting[0]
            unit = unit_of(MEANT * self.clock.left(), [piece for piece, _ in waiting])
            self.train(piece, drawn, unit)
            self.clock.remember()
            waiting.pop(0)

    def finished(self, row: Row, drawn: Drawn) -> bool:
        """Whether all of a row was trained."""
        parts = self.trained_cell(row, drawn).parts
        return FINETUNED in parts and (not row.trained or str(POINTS[-1]) in parts)

    def trained_before(self) -> float:
        """Seconds that cells which are there already took to train: what is left is judged as it was then."""
        tunable = [row for row in self.rows if row.tunable]
        return sum(self.trained_cell(row, one).seconds.get(ALL, 0.0) for row in tunable for one in self.drawn)

    def done(self, piece: Piece, drawn: Drawn) -> bool:
        """Whether a piece is finished."""
        parts = self.trained_cell(piece.row, drawn).parts
        return (FINETUNED if piece.what == "fine-tuning" else str(POINTS[-1])) in parts

    def measured_pieces(self) -> list[Piece]:
        """All that can be trained, pre-training first, with its speed, which is measured with the first seed."""
        console.print("measuring how fast each row trains")
        found, first = [], self.drawn[0]
        for row in (row for row in self.rows if row.tunable):
            beside = self.seconds_of_probes(row)
            with quiet(), self.left_out(row):
                if row.trained:
                    config = self.runs.pretraining(row, first, ANY, f"speed-of-{row.kind}")
                    found.append(Piece(row, "pre-training", Pace(self.runs.step_of_pretraining(config), beside)))
                weights = self.weights_for_speed(row, first)
                tuning = self.runs.tuning(row, first, weights, ANY, f"speed-of-{row.kind}")
                most = MOST_EPOCHS * len(first.train) // tuning.run.batch_size
                found.append(Piece(row, "fine-tuning", Pace(self.runs.step_of_tuning(tuning), beside / 2), most))
        return sorted(found, key=lambda piece: piece.what != "pre-training")

    def seconds_of_probes(self, row: Row) -> float:
        """What it takes to look at the images and to probe, as the frozen rows of the same networks took."""
        alike = ("given", "random") if row.kind in ("given", "continued") else ("random",)
        cells = [self.frozen_cell(one, drawn) for one in self.rows if one.kind in alike for drawn in self.drawn]
        own = [
            cell for cell in cells if row.weights is None or cell.row in (row.name.partition(",")[0], "random weights")
        ]
        return max(cell.seconds.get(ALL, 0.0) for cell in own)

    @contextmanager
    def left_out(self, row: Row) -> Iterator[None]:
        """A row that does not fit these images is left out, and the others go on."""
        try:
            yield
        except ValueError as error:
            self.remarks.append(f"{row.name}: left out, {' '.join(str(error).split())}")

    def weights_for_speed(self, row: Row, drawn: Drawn) -> str:
        """Weights of the network that a row fine-tunes: those it begins with, or a new network of the recipe."""
        if row.kind in ("given", "continued"):
            return row.weights or ""
        return str(self.untrained(next(one for one in self.rows if one.kind == "random"), drawn))

    def train(self, piece: Piece, drawn: Drawn, unit: float) -> None:
        """A piece with a seed."""
        cell, steps = self.trained_cell(piece.row, drawn), piece.steps(unit)
        if piece.what == "fine-tuning" and piece.row.trained and str(POINTS[-1]) not in cell.parts:
            return  # there is nothing to fine-tune, which was said
        if piece.shortest(unit) < FEWEST / 2 and piece.what not in cell.steps:
            self.remarks.append(f"{piece.row.name}, seed {drawn.seed}: no time was left for {piece.what}")
            return
        if piece.what not in cell.steps:
            cell.steps[piece.what] = steps
            cell.keep(self.runs.world.device)
        (self.pretrain if piece.what == "pre-training" else self.tune)(piece, drawn, cell)

    def pretrain(self, piece: Piece, drawn: Drawn, cell: Cell) -> None:
        """Each point of the curve, the shortest run first."""
        for point in (point for point in POINTS if str(point) not in cell.parts):
            steps, began = max(1, round(point * cell.steps[piece.what])), time.perf_counter()
            with quiet():
                config = self.runs.pretraining(piece.row, drawn, steps, self.name(piece, drawn, cell, str(point)))
                trained = self.runs.pretrained(config)
                right = self.runs.features(piece.row, config.out, drawn)
            self.count(cell, piece, str(point), steps, trained, time.perf_counter() - began)
            cell.add(str(point), right, self.runs.world.device)
            tidy(config.out, whole=point == POINTS[-1])
            self.clock.remember()
            self.say(piece.row, drawn, str(point), cell, f", {duration(trained)} of pre-training")

    def tune(self, piece: Piece, drawn: Drawn, cell: Cell) -> None:
        """Fine-tune the row's weights."""
        began, row = time.perf_counter(), piece.row
        weights = self.weights_for_speed(row, drawn)
        if row.trained:
            pretrained = self.name(Piece(row, "pre-training", piece.pace), drawn, cell, str(POINTS[-1]))
            weights = str(self.folder / "runs" / pretrained)
        steps = cell.steps[piece.what]
        with quiet():
            config = self.runs.tuning(row, drawn, weights, steps, self.name(piece, drawn, cell, "all"))
            seconds, right = self.runs.tuned(config, drawn)
        self.count(cell, piece, FINETUNED, steps, seconds, time.perf_counter() - began)
        cell.add(FINETUNED, right, self.runs.world.device)
        tidy(config.out, whole=True)
        self.say(row, drawn, FINETUNED, cell)

    def count(self, cell: Cell, piece: Piece, part: str, steps: int, trained: float, whole: float) -> None:
        """Take in what a run took: its training, and all of it with probes, by which the next one is planned."""
        cell.seconds |= {part: trained, ALL: cell.seconds.get(ALL, 0.0) + whole}
        piece.pace.learn(steps, trained, whole)

    def name(self, piece: Piece, drawn: Drawn, cell: Cell, part: str) -> str:
        """Of a run's folder."""
        return f"{piece.row.kind}-{piece.what}-{part}-seed{drawn.seed}-{cell.digest}"

    def say(self, row: Row, drawn: Drawn, part: str, cell: Cell, more: str = "") -> None:
        """What came of a part, and how much of the time is gone."""
        shown = ", ".join(
            f"{name} {100 * np.mean([one == '1' for one in bits]):.1f}" for name, bits in cell.parts[part].items()
        )
        what = {FROZEN: "", FINETUNED: ""}.get(part, f" at {part} of its time")
        gone = f"{duration(self.clock.spent())} of {duration(self.clock.seconds)}"
        console.print(f"seed {drawn.seed}, {row.name}{what}: {shown} %{more} ({gone} gone)")


def decided(row: Row) -> dict[str, Any]:
    """All that decides a row: its settings, and what its weights hold."""
    weights = row.weights
    known = digest_of_model(weights.value) if isinstance(weights, Given) else identity(weights) if weights else None
    settings = {name: value for name, value in row.pretrain.items() if name not in ("init", "teacher")}
    return {"kind": row.kind, "weights": known, "pretrain": settings}


def tidy(run: Path, *, whole: bool) -> None:
    """Remove what a finished run is not needed for any more. whole: its weights stay."""
    shutil.rmtree(run / "checkpoints" if whole else run, ignore_errors=True)
