"""What callbacks and trackers hear of whole runs: of all of it, whatever happens on the way, and once."""

import csv
import json
import os
import signal

import pytest

import pcae
from pcae.cli import main
from pcae.methods.pcae import PCAE
from pcae.runs.detection import train_and_report
from pcae.runs.run import TrainingRun
from pcae.settings.recipes import configure
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.training.checkpoint import Checkpoints
from pcae.training.logging import read_metrics
from tests import clients, few, shapes
from tests.processes import ended, together
from tests.runs.test_roll_back import Poison

pytestmark = pytest.mark.trains

NET = {"width": 24, "depth": 4, "heads": 2}
SMALL = {"batch_size": 8, "device": "cpu", "log_every": 2, "checkpoint_every": 5}
PRETRAIN = {"recipe": "sample", **NET, "decoder_width": 16, "decoder_heads": 2, **SMALL}
FINETUNE = {"from_scratch": True, **NET, "image_size": (28, 28), "patch_size": 7, **SMALL}
WORDS = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu", "--log-every", "2", "--checkpoint-every", "5",
    "--health-every", "0",
]  # fmt: skip


class Hears(pcae.Callback):
    """Writes down what it hears. broken_at: the step whose numbers it does not bear."""

    def __init__(self, broken_at=None):
        self.events, self.broken_at = [], broken_at

    def on_start(self, run):
        self.events.append(("start", run.step, run.steps, run.config["batch_size"], run.folder))

    def on_step(self, step, numbers):
        if step == self.broken_at:
            raise LookupError("mine")
        self.events.append(("step", step, numbers))

    def on_checkpoint(self, path, step):
        assert path.is_file()
        self.events.append(("checkpoint", step, path))

    def on_end(self, summary):
        self.events.append(("end", summary))

    def lines(self):
        return [{"step": step, **numbers} for kind, step, numbers in self.of("step")]

    def of(self, kind):
        return [event for event in self.events if event[0] == kind]


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    few.shorten(monkeypatch)


def detect(out, callbacks, tmp_path):
    for split in ("train", "val"):
        shapes.make(tmp_path / "coco", shapes.content(), split)
    small = {"pyramid_channels": 16, "head_width": 32, "mask_channels": 16, "mask_convs": 1, "sampled_proposals": 16}
    small |= {"shortest_sides": (64,), "longest_side": 100, "batch_size": 2, "device": "cpu", "channels": 3}
    small |= {"model": "vit_tiny_patch16_224", "patch_size": 8, **NET, "from_scratch": True}
    steps = {"log_every": 2, "checkpoint_every": 5, "steps": 7}
    config = configure(
        DetectTrainConfig, "detect train", str, data=str(tmp_path / "coco"), out=str(out), **small, **steps
    )
    return train_and_report(config, callbacks)


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "detect"])
def test_callbacks_hear_what_the_run_folder_says(tmp_path, verb):
    hears, out = Hears(), tmp_path / "run"
    if verb == "detect":
        summary = detect(out, [hears], tmp_path)
    elif verb == "pretrain":
        summary = pcae.pretrain("sample", out, callbacks=[hears], steps=7, **PRETRAIN)
    else:
        summary = pcae.finetune("sample", out, callbacks=[hears], steps=7, **FINETUNE)
    size = 2 if verb == "detect" else 8
    assert hears.events[0] == ("start", 0, 7, size, out) and hears.events[-1] == ("end", summary)
    assert hears.lines() == read_metrics(out)
    assert [line["step"] for line in hears.lines() if "grad_norm" in line] == [2, 4, 6, 7]
    paths = [Checkpoints(out / "checkpoints", 9).folder / f"step-{step:08d}.safetensors" for step in (5, 7)]
    assert hears.of("checkpoint") == [("checkpoint", step, path) for step, path in zip((5, 7), paths, strict=True)]
    again = Hears()
    pcae.pretrain("sample", out, callbacks=[again], steps=7, **PRETRAIN) if verb == "pretrain" else None
    assert again.events == []  # the run is over


@pytest.mark.parametrize("step", [4, 7])
def test_what_a_callback_raises_ends_the_run_once_it_is_saved_and_it_goes_on(tmp_path, step):
    """In the middle and at the last step."""
    out, unbroken = tmp_path / "run", tmp_path / "unbroken"
    with pytest.raises(LookupError, match="mine"):
        pcae.pretrain("sample", out, callbacks=[Hears(broken_at=step)], steps=7, **PRETRAIN)
    assert (out / "checkpoints" / "last").read_text() == f"step-{step:08d}.safetensors"
    hears = Hears()
    pcae.pretrain("sample", out, callbacks=[hears], steps=7, **PRETRAIN)
    assert hears.events[0][:3] == ("start", step, 7) and hears.events[-1][0] == "end"
    pcae.pretrain("sample", unbroken, steps=7, **PRETRAIN)
    assert (out / "encoder.safetensors").read_bytes() == (unbroken / "encoder.safetensors").read_bytes()
    assert [line["step"] for line in read_metrics(out)] == [line["step"] for line in read_metrics(unbroken)]


def test_a_callback_that_fails_at_the_start_leaves_nothing(tmp_path):
    class Breaks(pcae.Callback):
        def on_start(self, run):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        pcae.pretrain("sample", tmp_path / "run", callbacks=[Breaks()], steps=2, **PRETRAIN)
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_back_says_so_and_starts_again(tmp_path, monkeypatch):
    Poison(monkeypatch, PCAE, range(7, 10))

    class Warned(Hears):
        def on_warning(self, step, name, sentence):
            self.events.append(("warning", step, name))

    hears, out = Warned(), tmp_path / "run"
    knobs = PRETRAIN | {"roll_back_after": 2, "health_every": 0, "log_to": ["csv"]}
    pcae.pretrain("sample", out, callbacks=[hears], steps=12, **knobs)
    assert [event[1] for event in hears.of("start")] == [0, 5] and hears.of("warning") == [
        ("warning", 5, "roll-back 1")
    ]
    assert table(out) == [line for line in read_metrics(out) if "warning" not in line]


def table(out):
    with (out / "metrics.csv").open(newline="") as file:
        found = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert [row["step"] for row in found] == sorted(row["step"] for row in found)
    return found


@pytest.mark.parametrize("client", [clients.wandb, clients.mlflow])
def test_trackers_have_the_values_of_metrics_jsonl_and_one_that_is_killed_leaves_the_run_alive(
    tmp_path, monkeypatch, capsys, client
):
    calls, name, plain = client(monkeypatch), client.__name__, tmp_path / "plain"
    main(["pretrain", "sample", "--out", str(plain), *WORDS, "--steps", "7", "--log-to", name])
    assert (plain / "kept-tokens.png").stat().st_size > 1000 and not (plain / "tensorboard").exists()
    if name == "wandb":
        assert calls.of("log")[:-1] == read_metrics(plain) and "kept-tokens" in calls.of("log")[-1]
    else:
        lines = [{"step": told[0][2], **{name: value for name, value, _ in told}} for told in calls.of("metrics")]
        assert lines == read_metrics(plain)
    calls.clear()
    calls.fail_at, out, told = 8, tmp_path / "run", ["--log-to", name, "tensorboard", "csv"]
    capsys.readouterr()
    main(["pretrain", "sample", "--out", str(out), *WORDS, "--steps", "7", *told])
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count(f"{name} takes nothing more of this run: the service is gone; the run goes on") == 1
    assert table(out) == read_metrics(out) and list((out / "tensorboard").iterdir())
    assert (out / "encoder.safetensors").read_bytes() == (plain / "encoder.safetensors").read_bytes()


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pcae.training.trackers.choice.find_spec", lambda name: None)
    for verb in (["pretrain"], ["finetune"], ["detect", "train"]):
        with pytest.raises(SystemExit) as stop:
            main([*verb, "nowhere", "--out", str(tmp_path / "run"), "--log-to", "wandb"])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and said.count("\n") == 1 and "pip install 'pcae[wandb]'" in said
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_stopped_closes_its_trackers_and_goes_on_in_the_same_run(tmp_path, monkeypatch):
    calls, stop_if, out = clients.wandb(monkeypatch), TrainingRun.stop_if, tmp_path / "run"

    def at_step(self, asked):
        if self.progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        stop_if(self, asked)

    words = ["pretrain", "sample", "--out", str(out), *WORDS, "--steps", "7", "--log-to", "wandb", "csv"]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "stop_if", at_step)
        with pytest.raises(SystemExit) as stop:
            main(words)
    assert stop.value.code == 75 and calls.of("finish") == [1]
    main(words)
    assert calls.of("finish") == [1, 0] and len({settings["id"] for settings in calls.of("init")}) == 1
    assert table(out) == read_metrics(out)


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--fully-shard"]])
def test_of_two_processes_the_main_one_tells_and_both_end_where_a_callback_fails(tmp_path, words):
    out = tmp_path / "run"
    asked = ["tests.runs.overheard", "pretrain", "sample", "--out", str(out), *WORDS, *words, "--steps", "9"]
    (first, said), (second, other) = ended(*together([*asked, "--log-to", "csv", "tensorboard"]))
    assert first and second and "LookupError: mine" in said and "pcae (process 1): mine" in other
    assert (out / "checkpoints" / "last").read_text() == "step-00000006.safetensors"
    heard = [json.loads(line) for line in (tmp_path / "heard.jsonl").read_text().splitlines()]
    assert heard == read_metrics(out) == table(out)
