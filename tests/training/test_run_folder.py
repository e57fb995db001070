import shutil
from pathlib import Path

import pytest
import torch

from pcae.settings.run import OptimizerConfig
from pcae.training.checkpoint import Checkpoints, save_atomically
from pcae.training.loop import Progress
from pcae.training.optimizer import build_optimizer
from pcae.training.run_folder import facts_of, find_checkpoint, prepare
from pcae.writing import check_place, cleared_on_failure


def find(folder, resume):
    return find_checkpoint(Checkpoints(folder / "checkpoints", 1), resume, {"steps": 4}, {})


@pytest.fixture
def run(tmp_path):
    layer = torch.nn.Linear(2, 2)
    optimizer = build_optimizer(layer, OptimizerConfig())
    path = Checkpoints(tmp_path / "checkpoints", 1).save(
        layer, optimizer, Progress(4, step=3), {"settings": {"steps": 4, "model": "a"}}
    )
    return tmp_path, path


def test_auto_goes_on_and_never_refuses(run, tmp_path):
    folder, path = run
    assert find(folder, "auto") == path == find(tmp_path / "new", str(path))
    assert find(tmp_path / "new", "auto") is None is find(tmp_path / "new", "never")
    with pytest.raises(ValueError, match="holds another run"):
        find(folder, "never")
    with pytest.raises(ValueError, match="'somewhere' is no checkpoint"):
        find(folder, "somewhere")


def test_a_checkpoint_from_elsewhere_does_not_go_into_a_folder_with_a_run(run, tmp_path):
    folder, path = run
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / path.name
    other.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="holds another run than"):
        find(folder, str(other))
    assert find(folder, str(path)) == path


def test_a_file_of_weights_is_no_checkpoint(tmp_path):
    save_atomically(tmp_path / "encoder.safetensors", {"a": torch.ones(1)}, {"mean": [0.5]})
    with pytest.raises(ValueError, match="is no checkpoint of a run"):
        facts_of(tmp_path / "encoder.safetensors", {}, {})


def test_other_settings_are_refused_by_name(run):
    _, path = run
    assert facts_of(path, {"steps": 4, "model": "a"}, {})["step"] == 3
    newer = {"steps": 4, "model": "a", "stream": False}
    assert facts_of(path, newer, {"stream": False, "steps": None, "other": 1})["step"] == 3
    with pytest.raises(ValueError, match="of a run with stream = False, not True"):
        facts_of(path, newer | {"stream": True}, {"stream": False})
    with pytest.raises(ValueError, match="a run with steps = 4, not 5"):
        facts_of(path, {"steps": 5, "model": "a"}, {})


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        prepare(tmp_path / "file" / "run", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [("steps: 5\n", "steps = 5, not 4"), ("train:\n  steps: 4\n", "steps = None"), ("[", "steps = None")],
)
def test_a_folder_with_another_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        find(tmp_path, "auto")


def test_a_run_cut_off_before_its_first_checkpoint_starts_anew(tmp_path):
    (tmp_path / "config.yaml").write_text("steps: 4\nout: elsewhere\n")
    assert find(tmp_path, "auto") is None is find(tmp_path, "never")


def test_a_finished_run_without_checkpoints_is_not_overwritten(tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"precious")
    with pytest.raises(ValueError, match="holds a finished run without its checkpoints"):
        find(tmp_path, "auto")


def test_a_run_folder_inside_the_images_is_refused(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    for data in (".", str(tmp_path / "photos")):
        with pytest.raises(ValueError, match="out 'run/one' lies inside the data"):
            check_place(Path("run/one"), data)
    check_place(tmp_path / "run", ".")
    check_place(tmp_path / "photos" / "run", "sample")


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json"])
def test_another_programs_files_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text('{"step": 5}')
    with pytest.raises(ValueError, match=f"holds '{name}' of another program"):
        find(tmp_path, "auto")


def test_what_a_failed_start_made_goes_with_it(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    for folder in (tmp_path / "runs" / "x" / "y", tmp_path / "mine"):
        for wanted in (True, False):
            with pytest.raises(KeyError), cleared_on_failure(folder, lambda wanted=wanted: wanted):
                prepare(folder, "a: 1")
                (folder / "tensorboard").mkdir()
                raise KeyError
            assert (folder / "config.yaml").exists() is not wanted
            if wanted:
                assert not (tmp_path / "runs").exists() and [path.name for path in (tmp_path / "mine").iterdir()] == [
                    "notes.txt"
                ]
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
