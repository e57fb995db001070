"""What the trackers make of a run, by stand-ins for their clients; the clients themselves: tests/trackers."""

import csv
import json
import math

import pytest

from pcae.training.callbacks import RunFacts
from pcae.training.trackers.choice import check_trackers, open_trackers
from tests import clients

SUMMARY = {"steps": 9, "loss": 0.25, "weights": "somewhere"}


def facts(folder, step=0, **config):
    (folder / "config.yaml").write_text("a: 1")
    return RunFacts("training", folder, {"data": "photos", "betas": [0.9, 0.95], **config}, step, 9)


def metrics(folder, *lines):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_csv_has_the_rows_of_the_journal_also_when_columns_come_late(tmp_path):
    lines = [
        {"step": 1, "loss": 0.1 + 0.2},
        {"step": 2, "loss": 1e-320},
        {"step": 2, "warning": "x", "says": "y"},
        {"step": 2, "top1": 1 / 3, "a, b": 2},
        {"step": 3, "loss": math.inf},
    ]
    (tracker,) = open_trackers(["csv"]).values()
    tracker.on_start(facts(tmp_path))
    for index, line in enumerate(lines):
        metrics(tmp_path, *lines[: index + 1])
        if "warning" not in line:
            tracker.on_step(line["step"], {name: value for name, value in line.items() if name != "step"})
    numbers = [line for line in lines if "warning" not in line]
    assert rows(tmp_path) == numbers
    metrics(tmp_path, *lines[:2])  # the run goes on from step 2: what came after it is gone
    (again,) = open_trackers(["csv"]).values()
    again.on_start(facts(tmp_path, 2))
    assert rows(tmp_path) == lines[:2]


def test_wandb_gets_settings_numbers_by_the_step_warnings_and_pictures(tmp_path, monkeypatch):
    calls = clients.wandb(monkeypatch)
    (tracker,) = open_trackers(["wandb"]).values()
    tracker.on_start(facts(tmp_path))
    tracker.on_step(2, {"loss": 0.5})
    tracker.on_warning(2, "collapse", "look here")
    (tmp_path / "kept-tokens.png").touch()
    tracker.on_end(SUMMARY)
    tracker.close(failed=False)
    (settings,) = calls.of("init")
    assert (settings["project"], settings["name"]) == ("pcae", tmp_path.name)
    assert settings["config"]["data"] == "photos" and settings["dir"] == str(tmp_path)
    assert calls.of("define_metric") == [["step", {"hidden": True}], ["*", {"step_metric": "step"}]]
    picture = f"picture {tmp_path / 'kept-tokens.png'}"
    assert calls.of("log") == [{"step": 2, "loss": 0.5}, {"step": 9, "kept-tokens": picture}]
    (alert,) = calls.of("alert")
    assert alert[0]["title"] == "collapse" and alert[0]["text"] == "look here"
    assert {"warnings/collapse": "look here"} in calls.of("summary")
    assert {f"final/{name}": value for name, value in SUMMARY.items()} in calls.of("summary")
    assert calls.of("finish") == [0]


def test_mlflow_gets_settings_numbers_by_the_step_warnings_and_pictures(tmp_path, monkeypatch):
    calls = clients.mlflow(monkeypatch)
    (tracker,) = open_trackers(["mlflow"]).values()
    many = {f"setting_{index}": index for index in range(250)}
    tracker.on_start(facts(tmp_path, long="x" * 9999, **many))
    tracker.on_step(2, {"loss": 0.5, "health/rank": 3, "recall/fox (red)": 1.0})
    tracker.on_warning(2, "collapse", "look here")
    (tmp_path / "confusion.png").touch()
    tracker.on_end(SUMMARY)
    tracker.close(failed=True)
    assert calls.of("create_run") == [("3", tmp_path.name)]
    assert [len(told) for told in calls.of("params")] == [100, 100, 53]
    params = {name: value for told in calls.of("params") for name, value in told.items()}
    assert params["betas"] == "[0.9, 0.95]" and len(params["long"]) == 500 and params["setting_249"] == "249"
    assert calls.of("metrics") == [[("loss", 0.5, 2), ("health/rank", 3, 2), ("recall/fox _red_", 1.0, 2)]]
    assert calls.of("tag") == [("warnings/collapse", "look here")]
    files = ["config.yaml", "summary.json", "confusion.png"]
    assert calls.of("artifact") == [str(tmp_path / name) for name in files]
    assert calls.of("status") == [("7", "RUNNING"), ("7", "FAILED")]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_goes_on_is_the_same_run_of_the_tracker(tmp_path, monkeypatch, name):
    calls = {"wandb": clients.wandb, "mlflow": clients.mlflow}[name](monkeypatch)
    for step in (0, 4):
        (tracker,) = open_trackers([name]).values()
        tracker.on_start(facts(tmp_path, step))
        tracker.close(failed=step == 0)
    begun = {"wandb": "init", "mlflow": "create_run"}[name]
    if name == "wandb":
        assert len({settings["id"] for settings in calls.of(begun)}) == 1
        assert [settings["resume"] for settings in calls.of(begun)] == ["allow", "allow"]
    else:
        assert len(calls.of(begun)) == 1 and calls.of("status")[2:] == [("7", "RUNNING"), ("7", "FINISHED")]
    assert set(json.loads((tmp_path / "trackers.json").read_text())) == {name}


def test_users_variables_say_where(tmp_path, monkeypatch):
    weights_and_biases, store = clients.wandb(monkeypatch), clients.mlflow(monkeypatch)
    for variable in ("WANDB_PROJECT", "WANDB_DIR", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.setenv(variable, f"mine-{variable}")
    for tracker in open_trackers(["wandb", "mlflow"]).values():
        tracker.on_start(facts(tmp_path))
    (settings,) = weights_and_biases.of("init")
    assert (settings["project"], settings["dir"]) == ("mine-WANDB_PROJECT", "mine-WANDB_DIR")
    assert store.of("create_experiment") == ["mine-MLFLOW_EXPERIMENT_NAME"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["wandb"], r"log_to wandb needs its client, which is not installed: pip install 'pcae\[wandb\]'"),
        (["csv", "mlflow"], r"pip install 'pcae\[mlflow\]'"),
        (["csv", "csv"], "log_to names a tracker twice: csv csv"),
        (["none", "csv"], "log_to none leaves no others, got none csv"),
    ],
)
def test_trackers_that_cannot_be_are_refused(monkeypatch, names, says):
    monkeypatch.setattr("pcae.training.trackers.choice.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=says):
        check_trackers(names)


def test_a_folder_that_wandb_left_is_no_client(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="not installed"):
        check_trackers(["wandb"])


def test_none_is_none():
    check_trackers(["none"])
    assert open_trackers(["none"]) == {}
