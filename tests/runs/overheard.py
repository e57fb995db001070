"""`pcae` with a callback that fails after step 6: python -m tests.runs.overheard VERB ..."""

import json
from pathlib import Path

import torch

import pcae
from pcae.cli import main
from pcae.runs.task import Task

complete = Task.complete


class Overhears(pcae.Callback):
    """Writes what it hears beside the run folder."""

    def on_start(self, run: pcae.RunFacts) -> None:
        self.path: Path = run.folder.parent / "heard.jsonl"

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        if step == 6:
            raise LookupError("mine")


if __name__ == "__main__":
    torch.set_num_threads(1)
    Task.complete = lambda task, callbacks=(): complete(task, [Overhears()])
    main()
