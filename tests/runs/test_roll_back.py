"""Losses that are not finite: a step is skipped, ten in a row send the run back, and at last it gives up."""

from pathlib import Path

import pytest
import torch

from pcae.cli import main
from pcae.methods.pcae import PCAE
from pcae.runs.roll_back import count_roll_backs
from pcae.runs.run import TrainingRun
from pcae.tasks.classification import Classification
from pcae.training.checkpoint import Checkpoints, read, read_header
from pcae.training.logging import read_metrics
from pcae.training.loop import StepResult
from pcae.weights.files import load
from tests.processes import succeed, together

pytestmark = pytest.mark.trains

SMALL = ["--width", "24", "--depth", "4", "--heads", "2"]
TINY = [
    "--recipe", "sample", *SMALL, "--decoder-width", "16", "--decoder-heads", "2", "--batch-size", "8",
    "--device", "cpu", "--health-every", "0", "--checkpoint-every", "20", "--log-every", "10",
]  # fmt: skip


class Poison:
    """Makes the loss of some steps nan: at the first visit of a step alone, or at every one. batches: all that were
    seen, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: type, steps: range, *, always: bool = False) -> None:
        forward, visited = method.forward, set()
        self.batches: list[tuple[int, float]] = []

        def poisoned(module, batch, random):
            result = forward(module, batch, random)
            pixels = batch.images if hasattr(batch, "images") else batch
            self.batches.append((random.step, float(pixels.sum())))
            bad = random.step in steps and (always or random.step not in visited)
            visited.add(random.step)
            return StepResult(result.loss * torch.nan, result.signals) if bad else result

        monkeypatch.setattr(method, "forward", poisoned)


def pretrain(out: Path, steps: int, *words: str) -> None:
    main(["pretrain", "sample", "--out", str(out), *TINY, "--steps", str(steps), *words])


def weights_at(out: Path, step: int) -> dict[str, torch.Tensor]:
    tensors, _ = read(out / "checkpoints" / f"step-{step:08d}.safetensors")
    return {name: value for name, value in tensors.items() if name.startswith(("method.", "optimizer."))}


def test_a_step_without_a_finite_loss_is_skipped_and_the_log_says_so(tmp_path, monkeypatch, capsys):
    Poison(monkeypatch, PCAE, range(50, 51))
    pretrain(tmp_path / "run", 52, "--checkpoint-every", "1", "--keep-checkpoints", "9")
    kept = [path.name for path in sorted((tmp_path / "run" / "checkpoints").glob("*"))]
    assert "step-00000051.safetensors" not in kept  # no checkpoint of a run that may have to go back
    before, after = weights_at(tmp_path / "run", 50), weights_at(tmp_path / "run", 52)
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert all(value.isfinite().all() for value in after.values())
    said = capsys.readouterr()
    assert "1 in a row skipped, the gradient not being finite; the weights stayed as they were" in said.err + said.out
    assert read_metrics(tmp_path / "run")[-1]["skipped"] == 1
    assert count_roll_backs(tmp_path / "run", 52) == 0


def test_a_skipped_step_leaves_weights_teacher_and_moments_as_they_were(tmp_path, monkeypatch):
    Poison(monkeypatch, PCAE, range(50, 60))
    pretrain(tmp_path / "run", 51, "--checkpoint-every", "50")  # its last step is the skipped one
    before, after = weights_at(tmp_path / "run", 50), weights_at(tmp_path / "run", 51)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("first", [50, pytest.param(53, marks=pytest.mark.slow)])
def test_ten_in_a_row_go_back_to_the_last_good_checkpoint_with_other_images(tmp_path, monkeypatch, capsys, first):
    """Also where the row ends between two looks."""
    out = tmp_path / "run"
    poison = Poison(monkeypatch, PCAE, range(first, first + 10))
    pretrain(out, 80)
    said = capsys.readouterr()
    sentence = "back to step 40, with the images in another order (roll-back 1 of at most 3)"
    assert "10 in a row skipped, the gradient not being finite; " + sentence in (said.err + said.out).replace("\n", " ")
    steps = [step for step, _ in poison.batches]
    again = steps.index(40, steps.index(41))
    assert steps == [*range(again), *range(40, 80)]
    assert {pixels for step, pixels in poison.batches[40:50]}.isdisjoint(
        pixels for step, pixels in poison.batches[again : again + 10]
    )
    remark = next(line for line in read_metrics(out) if "warning" in line)
    assert remark["step"] == 40 and sentence in remark["says"]
    assert [line["step"] for line in read_metrics(out) if "loss" in line] == list(range(10, 81, 10))
    assert read_metrics(out)[-1]["skipped"] == 0


@pytest.mark.slow
def test_the_other_order_outlives_an_interruption(tmp_path, monkeypatch):
    """Stopped after the roll-back and before the next checkpoint, a run goes on with the order that it changed to."""
    with monkeypatch.context() as patch:
        unbroken = Poison(patch, PCAE, range(30, 40))
        pretrain(tmp_path / "unbroken", 60)

    poison = Poison(monkeypatch, PCAE, range(30, 40))
    forward = PCAE.forward
    visits = []

    def killed(module, batch, random):
        visits.append(random.step)
        if visits.count(25) == 2:
            visits.append(25)
            raise RuntimeError("killed")
        return forward(module, batch, random)

    monkeypatch.setattr(PCAE, "forward", killed)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(tmp_path / "run", 60)
    pretrain(tmp_path / "run", 60)
    assert poison.batches[-40:] == unbroken.batches[-40:]
    expected = weights_at(tmp_path / "unbroken", 60)
    assert all(torch.equal(value, expected[name]) for name, value in weights_at(tmp_path / "run", 60).items())


def stop_at(monkeypatch, step: int) -> None:
    """Have the run be asked to stop, so that it is saved after a step."""
    stop_if = TrainingRun.stop_if
    monkeypatch.setattr(TrainingRun, "stop_if", lambda run, asked: stop_if(run, asked or run.progress.step == step))


def stopped(out: Path, *words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        pretrain(out, 60, *words)
    assert stop.value.code == 75


@pytest.mark.slow
def test_stopped_in_a_row_of_skipped_steps_one_more_is_no_row_of_ten(tmp_path, monkeypatch, capsys):
    Poison(monkeypatch, PCAE, range(21, 31))
    with monkeypatch.context() as patch:
        stop_at(patch, 30)
        stopped(tmp_path / "run")
    pretrain(tmp_path / "run", 60)
    assert "1 in a row skipped" in capsys.readouterr().err and count_roll_backs(tmp_path / "run", 60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "zeros", "another folder"])
def test_the_other_order_stands_in_the_checkpoints_too(tmp_path, monkeypatch, damage):
    """Whatever became of metrics.jsonl, and in another folder."""
    poison, out = Poison(monkeypatch, PCAE, range(22, 32)), tmp_path / "run"
    pretrain(out, 60)
    expected, words = poison.batches[-20:], []
    newest = out / "checkpoints" / "step-00000060.safetensors"
    newest.unlink()
    (out / "summary.json").unlink()
    (out / "checkpoints" / "last").write_text("step-00000040.safetensors")
    if damage == "gone":
        (out / "metrics.jsonl").unlink()
    elif damage == "zeros":
        (out / "metrics.jsonl").write_bytes(bytes(100) + b"\n[1]\n")
    else:
        words, out = ["--resume", str(out / "checkpoints" / "step-00000040.safetensors")], tmp_path / "other"
    pretrain(out, 60, *words)
    assert poison.batches[-20:] == expected


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_from_a_checkpoint_that_was_named_it_goes_back_to_that_one(tmp_path, monkeypatch, same):
    """Not to the start, and not forward to a newer one that the run had left."""
    first = tmp_path / "first"
    pretrain(first, 60, "--keep-checkpoints", "9")
    (first / "summary.json").unlink()
    poison = Poison(monkeypatch, PCAE, range(22, 32))
    words = ["--resume", str(first / "checkpoints" / "step-00000020.safetensors")]
    pretrain(first if same else tmp_path / "second", 60, *words)
    assert [step for step, _ in poison.batches] == [*range(20, 40), *range(20, 60)]


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--fully-shard"]])
def test_two_processes_go_back_together_where_one_has_no_finite_loss(tmp_path, words):
    run = [
        "tests.runs.poisoned",
        "pretrain",
        "sample",
        "--out",
        str(tmp_path / "run"),
        *TINY,
        "--steps",
        "60",
        *words,
    ]
    succeed(*together(run))
    assert count_roll_backs(tmp_path / "run", 60) == 1 and weights_at(tmp_path / "run", 60)


@pytest.mark.slow
def test_without_a_checkpoint_it_goes_back_to_the_start(tmp_path, monkeypatch):
    poison = Poison(monkeypatch, PCAE, range(5, 15))
    pretrain(tmp_path / "run", 25, "--checkpoint-every", "500")
    assert [step for step, _ in poison.batches] == [*range(20), *range(25)]


@pytest.mark.slow
def test_after_some_roll_backs_it_gives_up_and_the_last_good_checkpoint_is_there(tmp_path, monkeypatch, capsys):
    poison = Poison(monkeypatch, PCAE, range(25, 99), always=True)
    with pytest.raises(SystemExit) as stop:
        pretrain(tmp_path / "run", 60, "--most-roll-backs", "2", "--roll-back-after", "4")
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "the run gives up after 2 roll-backs" in said and "lower --base-lr (now " in said
    assert [step for step, _ in poison.batches] == [*range(32), *range(20, 32), *range(20, 32)]
    last = Checkpoints(tmp_path / "run" / "checkpoints", 2).last()
    assert last is not None and read_header(last)["step"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--optimizer", "muon", "--freeze", "1"]], ids=["plain", "frozen"])
def test_fine_tuning_goes_back_too(tmp_path, monkeypatch, more):
    poison = Poison(monkeypatch, Classification, range(12, 22))
    words = [
        "finetune", "sample", "--from-scratch", "--image-size", "32", "32", "--patch-size", "8", *SMALL,
        "--batch-size", "8", "--device", "cpu", "--checkpoint-every", "10", "--steps", "30", "--mixup", "0",
        "--cutmix", "0", *more,
    ]  # fmt: skip
    main([*words, "--out", str(tmp_path / "run")])
    assert [step for step, _ in poison.batches] == [*range(30), *range(10, 30)]
    assert all(parameter.isfinite().all() for parameter in load(tmp_path / "run").parameters())
