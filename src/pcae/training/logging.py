"""What a run says of itself: metrics.jsonl, a progress line, and what others are told of it."""

import json
import time
from pathlib import Path
from typing import Any

import rich.progress
from rich.console import Console

from pcae.training.append_files import Records
from pcae.training.callbacks import Audience
from pcae.training.distributed import World
from pcae.training.loop import Progress
from pcae.training.plan import Plan
from pcae.writing import replace_text

COLUMNS = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.BarColumn(bar_width=20),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TimeRemainingColumn(),
    rich.progress.TextColumn("{task.fields[now]}"),
)


class Journal:
    """A watcher that reads the numbers of a step off the device and writes them down; use it as a context.

    Every process calls it, the main one writes. On resume, lines past `start` are dropped first, so that no step
    stands in metrics.jsonl twice. beside: what other watchers want to be shown, by name;
    lines of text show it once. audience: who is told, too.
    """

    def __init__(
        self,
        what: str,
        folder: Path,
        plan: Plan,
        start: int,
        world: World,
        console: Console,
        audience: Audience,
    ) -> None:
        self.what, self.folder, self.plan, self.start = what, folder, plan, start
        self.world, self.console, self.audience = world, console, audience
        self.seen = (time.perf_counter(), start, 0.0, 0.0)
        self.beside: dict[str, str] = {}

    def __enter__(self) -> "Journal":
        if self.world.is_main:
            path = self.folder / "metrics.jsonl"
            if path.exists():
                replace_text(path, "".join(kept_lines(path, self.start)))
            self.file = Records(path)
            self.bar = rich.progress.Progress(
                *COLUMNS, console=self.console, transient=True, disable=not self.console.is_terminal
            )
            self.task = self.bar.add_task(self.what, total=self.plan.steps, completed=self.start, now="")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.world.is_main:
            self.bar.stop()

    def write(self, progress: Progress) -> None:
        """Write a line, tell the audience, show it."""
        record = self.measure(progress)
        if self.world.is_main:
            self.note(record)
            self.show(progress, record)

    def note(self, record: dict[str, int | float]) -> None:
        """Write numbers of a step to metrics.jsonl, and tell the audience; in the main process."""
        self.put(record)
        numbers = {name: value for name, value in record.items() if name != "step"}
        self.audience.tell(lambda one: one.on_step(int(record["step"]), dict(numbers)))

    def remark(self, step: int, name: str, sentence: str) -> None:
        """Write down what was warned of at a step; in the main process."""
        self.put({"step": step, "warning": name, "says": sentence}, lasting=True)
        self.audience.tell(lambda one: one.on_warning(step, name, sentence))

    def put(self, line: dict[str, Any], *, lasting: bool = False) -> None:
        """Write a line of metrics.jsonl; `lasting`: a power cut does not take it away."""
        self.file.write(json.dumps(line).encode() + b"\n", lasting=lasting)

    def show(self, progress: Progress, record: dict[str, int | float]) -> None:
        """Move the progress bar; where there is no terminal, print a line."""
        said = [
            f"loss {record['loss']:.4f}",
            f"gradient {record['grad_norm']:.2g}",
            f"{record['skipped']} skipped" if record["skipped"] else "",
            *self.beside.values(),
            f"{record['images_per_second']:.0f} images/s",
            f"waiting for data {record['data_wait_share']:.0%}",
        ]
        now = "  ".join(filter(None, said))
        self.bar.update(self.task, completed=progress.step, now=now)
        if not self.console.is_terminal:
            self.console.print(f"step {progress.step} of {progress.steps}  {now}  {self.time_left(progress, record)}")
            self.beside.clear()

    def measure(self, progress: Progress) -> dict[str, int | float]:
        """The numbers of this step over all processes, and the speed since the last line."""
        then, step, waited, aside = self.seen
        self.seen = (now, _, _, _) = (time.perf_counter(), progress.step, progress.waited, progress.aside)
        seconds = max(now - then - (progress.aside - aside), 1e-9)
        return {
            "step": progress.step,
            "loss": self.world.mean(progress.loss).item(),
            "learning_rate": progress.learning_rate,
            "grad_norm": progress.grad_norm.item(),
            "skipped": progress.skipped.item(),
            "images_per_second": (progress.step - step) * self.plan.batch_size / seconds,
            "data_wait_share": (progress.waited - waited) / seconds,
            **{name: self.world.mean(value).item() for name, value in progress.signals.items()},
        }

    def time_left(self, progress: Progress, record: dict[str, int | float]) -> str:
        """Minutes to go at the present speed."""
        images = (progress.steps - progress.step) * self.plan.batch_size
        return f"{images / max(record['images_per_second'], 1e-9) / 60:.1f} min left"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; none where there is no such file, and none that is torn or damaged."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return [line for line in map(line_of, lines) if line]


def best_so_far(folder: Path, *names: str) -> float:
    """The best figure that a run has written down since its first step; below any where it has none.

    names: the figure is the first of these that a line has.
    """
    figures = [[line[name] for name in names if name in line] for line in read_metrics(folder) if line["step"]]
    return max((found[0] for found in figures if found), default=-1.0)


def line_of(line: bytes) -> dict[str, Any]:
    """What a line of metrics.jsonl says; nothing where it is torn or, after a power cut say, damaged."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else {}


def kept_lines(path: Path, start: int) -> list[str]:
    """The whole lines of metrics.jsonl up to step `start`."""
    lines = path.read_bytes().splitlines(keepends=True)
    return [line.decode() for line in lines if line_of(line).get("step", start + 1) <= start]
