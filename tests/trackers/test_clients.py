"""W&B offline and MLflow on a local store, by their own clients: the values of metrics.jsonl, one run over a resume,
and clients that are killed in the middle."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

import pcae
from pcae.training.logging import read_metrics
from tests.trackers.wandb_files import history, messages

pytestmark = [
    pytest.mark.trains,
    pytest.mark.filterwarnings("ignore"),  # the clients' own
]

TINY = {
    "recipe": "sample", "width": 24, "depth": 4, "heads": 2, "decoder_width": 16, "decoder_heads": 2, "batch_size": 8,
    "device": "cpu", "log_every": 2, "checkpoint_every": 5, "steps": 7,
}  # fmt: skip


class StopsAt(pcae.Callback):
    """Ends the run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        if step == self.step:
            raise LookupError("stop")


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    place = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'store.db'}")
        patch.chdir(place)  # MLflow's files lie beside its store
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run that was stopped after step 4 and went on."""
    out = tmp_path_factory.mktemp("runs") / "photos"
    knobs = TINY | {"log_to": ["wandb", "mlflow", "csv", "tensorboard"]}
    with pytest.raises(LookupError):
        pcae.pretrain("sample", out, callbacks=[StopsAt(4)], **knobs)
    pcae.pretrain("sample", out, **knobs)
    return out


def numbers(run: Path) -> list[dict[str, float]]:
    return [line for line in read_metrics(run) if "warning" not in line]


def test_wandb_has_the_values_in_one_run_with_settings_and_the_picture(run):
    rows = history(run / "wandb")
    assert rows[:-1] == numbers(run)
    assert rows[-1]["step"] == 7 and rows[-1]["kept-tokens/_type"] == "image-file"
    (picture,) = (run / "wandb").rglob(f"files/{rows[-1]['kept-tokens/path']}")
    assert picture.read_bytes() == (run / "kept-tokens.png").read_bytes()
    runs = [message.run for message in messages(run / "wandb") if message.WhichOneof("record_type") == "run"]
    known = json.loads((run / "trackers.json").read_text())["wandb"]
    assert {one.run_id for one in runs} == {known} and {one.display_name for one in runs} == {"photos"}
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    said = yaml.safe_load((run / "config.yaml").read_text())
    assert {name: config[name] for name in ("batch_size", "method", "betas")} == {
        name: said[name] for name in ("batch_size", "method", "betas")
    }


def test_mlflow_has_the_values_in_one_run_with_settings_and_the_picture(run):
    client = MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("pcae").experiment_id])
    assert found.info.run_id == json.loads((run / "trackers.json").read_text())["mlflow"]
    assert found.info.status == "FINISHED" and found.data.params["batch_size"] == "8"
    for name in found.data.metrics:
        told = [(one.step, one.value) for one in client.get_metric_history(found.info.run_id, name)]
        assert sorted(told) == [(line["step"], line[name]) for line in numbers(run) if name in line]
    assert set(found.data.metrics) == {name for line in numbers(run) for name in line} - {"step"}
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert files == {"config.yaml", "summary.json", "kept-tokens.png"}


def test_csv_has_the_values(run):
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert rows == numbers(run)


class Kills(pcae.Callback):
    """Kills what W&B runs beside this process, and takes MLflow's store away, after a step."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        if step == 2:
            for process in Path("/proc").glob("[0-9]*"):
                if b"wandb-core" in words_of(process) and is_ours(process):
                    os.kill(int(process.name), signal.SIGKILL)
            shutil.rmtree(self.store)


def words_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def is_ours(process: Path) -> bool:
    return f"PPid:\t{os.getpid()}\n" in (process / "status").read_text()


def test_clients_that_are_killed_in_the_middle_leave_the_run_alive(run, tmp_path, monkeypatch, capsys):
    store, out = tmp_path / "store", tmp_path / "photos"
    store.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'gone.db'}")
    knobs = TINY | {"log_to": ["wandb", "mlflow", "csv"]}
    pcae.pretrain("sample", out, callbacks=[Kills(store)], **knobs)
    said = capsys.readouterr().err
    for name in ("wandb", "mlflow"):
        assert said.count(f"{name} takes nothing more of this run") == 1, said
    assert [line["step"] for line in numbers(out)] == [line["step"] for line in numbers(run)]
    assert (out / "encoder.safetensors").read_bytes() == (run / "encoder.safetensors").read_bytes()
