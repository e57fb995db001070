"""Runs that are asked to stop, killed, or find their newest checkpoint damaged."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from pcae.cli import main
from pcae.runs.run import TrainingRun
from pcae.training.checkpoint import read
from pcae.training.logging import read_metrics
from tests.processes import start, succeed, wait_for_step

TINY = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu", "--health-every", "0", "--log-every", "1",
    "--steps", "12", "--checkpoint-every", "5",
]  # fmt: skip


def words(out: Path, *more: str) -> list[str]:
    return ["pretrain", "sample", "--out", str(out), *TINY, *more]


def final(out: Path) -> dict[str, torch.Tensor]:
    return read(out / "checkpoints" / "step-00000012.safetensors")[0]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    main(words(out))
    return out


def assert_same(one: Path, two: Path) -> None:
    found, expected = final(one), final(two)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize("step", [3, 5])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_finishes_its_step_is_saved_and_goes_on(
    tmp_path, capsys, monkeypatch, unbroken, number, step
):
    """Also where a checkpoint was due anyway."""
    stop_if, out = TrainingRun.stop_if, tmp_path / "run"

    def at_step(self, asked):
        if self.progress.step == step - 1:
            os.kill(os.getpid(), number)  # is heard in the next step
        stop_if(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "stop_if", at_step)
        with pytest.raises(SystemExit) as stop:
            main(words(out))
    assert stop.value.code == 75
    assert f"stopped after step {step} of 12, which is saved in {out}" in capsys.readouterr().err
    assert (out / "checkpoints" / "last").read_text() == f"step-{step:08d}.safetensors"
    main(words(out))
    assert_same(out, unbroken)
    assert [line["step"] for line in read_metrics(out)] == list(range(1, 13))


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_taken(tmp_path, capsys, unbroken):
    out = tmp_path / "run"
    main(words(out, "--keep-checkpoints", "3"))
    for name in ("summary.json", "encoder.safetensors"):
        (out / name).unlink()
    newest = out / "checkpoints" / "step-00000012.safetensors"
    content = bytearray(newest.read_bytes())
    content[-7] ^= 1  # one bit, in a tensor
    newest.write_bytes(content)
    main(words(out))
    said = capsys.readouterr().err
    assert f"{newest} is damaged" in said and "going on from" in said and "step-00000010" in said
    assert_same(out, unbroken)


def test_a_torn_checkpoint_is_passed_over_and_without_a_whole_one_the_run_refuses(tmp_path, capsys, unbroken):
    out = tmp_path / "run"
    main(words(out))
    (out / "summary.json").unlink()
    checkpoints = sorted((out / "checkpoints").glob("step-*"))
    checkpoints[-1].write_bytes(checkpoints[-1].read_bytes()[:1000])
    main(words(out))
    assert_same(out, unbroken)
    (out / "summary.json").unlink()
    for path in (out / "checkpoints").glob("step-*"):
        path.write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(words(out))
    assert stop.value.code == 2 and "no checkpoint is whole" in capsys.readouterr().err


LONG = ["--steps", "2000", "--checkpoint-every", "1000"]


@pytest.mark.slow
def test_sigterm_stops_a_process_with_readers(tmp_path):
    """Of several processes: test_processes."""
    out = tmp_path / "run"
    process = start(["pcae", *words(out, *LONG, "--workers", "1")])
    wait_for_step(out, 20)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - asked < 30 and "stopped after step" in said
    assert process.returncode == 75
    steps = [line["step"] for line in read_metrics(out)]
    assert (out / "checkpoints" / "last").read_text() == f"step-{steps[-1]:08d}.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("--freeze", "2", "--ema", "0.9", "--optimizer", "muon")], ids=["plain", "frozen"]
)
def test_a_fine_tuning_stops_and_goes_on_alike(tmp_path, more):
    out = tmp_path / "tuned"
    tune = [
        "finetune", "sample", "--from-scratch", "--width", "24", "--depth", "4", "--heads", "2", "--image-size", "28",
    ]  # fmt: skip
    tune += ["28", "--patch-size", "4", "--batch-size", "8", "--device", "cpu", "--log-every", "1", "--steps", "40"]
    tune += more
    succeed(start(["pcae", *tune, "--out", str(tmp_path / "unbroken")]))
    process = start(["pcae", *tune, "--out", str(out)])
    wait_for_step(out, 5)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and "stopped after step" in said, said
    assert read_metrics(out)[-1]["step"] == int((out / "checkpoints" / "last").read_text()[5:13]) < 40
    succeed(start(["pcae", *tune, "--out", str(out)]))
    one, two = (read(folder / "classifier.safetensors")[0] for folder in (out, tmp_path / "unbroken"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.slow
def test_a_comparison_stops_and_goes_on_alike(tmp_path):
    """It stops as a whole instead of noting the row as failed; what its run has done is not done again."""
    small = {"recipe": "sample", "width": 24, "depth": 4, "heads": 2, "decoder_width": 16, "decoder_heads": 2}
    small |= {"batch_size": 8, "steps": 400, "log_every": 1}
    rows, out = tmp_path / "rows.yaml", tmp_path / "out"
    rows.write_text(json.dumps({"title": "one", "pretrain": small, "measures": ["knn"], "rows": [{"name": "only"}]}))
    compare = ["compare", "sample", "--rows", str(rows), "--out", str(out), "--seeds", "0", "--device", "cpu"]
    process = start(["pcae", *compare])
    end = time.monotonic() + 120
    while not list(out.glob("runs/*/metrics.jsonl")) and time.monotonic() < end:
        time.sleep(0.05)
    (metrics,) = out.glob("runs/*/metrics.jsonl")
    wait_for_step(metrics.parent, 5)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and "stopped after step" in said, said
    stopped = int((metrics.parent / "checkpoints" / "last").read_text()[5:13])
    assert 5 <= stopped < 400 and not list(out.glob("cells/*"))
    main(compare)
    assert len(list(out.glob("cells/*"))) == 1
    assert [line["step"] for line in read_metrics(metrics.parent) if "loss" in line] == list(range(1, 401))
