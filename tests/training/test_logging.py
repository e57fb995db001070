import io
import json

import torch
from rich.console import Console

from pcae.training.callbacks import Audience
from pcae.training.distributed import World
from pcae.training.logging import Journal
from pcae.training.loop import Progress
from pcae.training.plan import Plan

PLAN = Plan(images=100, steps=10, warmup_steps=1, peak_lr=1.0, batch_size=20, micro_batch=20)
ALONE = World(0, 1, torch.device("cpu"))


def write(folder, start, steps, said=None):
    audience = Audience()
    with Journal("training", folder, PLAN, start, ALONE, Console(file=said or io.StringIO()), audience) as journal:
        for step in steps:
            journal.write(Progress(10, step=step, loss=torch.tensor(0.5), signals={"target_std": torch.tensor(0.1)}))


def test_every_line_is_json_and_says_how_it_goes(tmp_path):
    said = io.StringIO()
    write(tmp_path, 0, [1, 2], said)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    names = {"loss", "learning_rate", "grad_norm", "skipped", "images_per_second", "data_wait_share", "target_std"}
    assert names < lines[0].keys()
    assert "step 2 of 10" in said.getvalue() and "waiting for data" in said.getvalue() and "min left" in said.getvalue()


def test_no_step_stands_twice_after_a_resume_and_a_torn_line_goes(tmp_path):
    write(tmp_path, 0, [1, 2, 3, 4])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    write(tmp_path, 2, [3, 4])
    lines = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4]
