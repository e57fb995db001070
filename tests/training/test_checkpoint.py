import json
from pathlib import Path

import pytest
import torch

from pcae.settings.run import OptimizerConfig
from pcae.training.checkpoint import Checkpoints, read, read_header, restore, save_atomically
from pcae.training.loop import Progress
from pcae.training.optimizer import build_optimizer, take_step
from pcae.writing import check_writable, replace_text


def trained(seed: int = 0):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimizer = build_optimizer(model, OptimizerConfig())
    model(torch.randn(4, 3)).sum().backward()
    take_step(optimizer)
    return model, optimizer


def test_a_link_where_a_file_is_written_first_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.yaml.writing").symlink_to(outside)
    replace_text(tmp_path / "run" / "config.yaml", "new")
    assert outside.read_text() == "precious" and (tmp_path / "run" / "config.yaml").read_text() == "new"
    (tmp_path / "run" / ".out.png.writing").symlink_to(outside)
    check_writable(tmp_path / "run" / "out.png", ".png")
    assert outside.read_text() == "precious"


def test_everything_comes_back_as_it_was(tmp_path):
    model, optimizer = trained()
    progress = Progress(10, step=7, skipped=torch.tensor(2))
    path = Checkpoints(tmp_path, keep=2).save(model, optimizer, progress, {"mean": [0.5]})
    other, its = trained(seed=1)
    now = Progress(10)
    restore(path, other, its, now)
    assert now.step == 7 and now.skipped == 2 and read_header(path)["mean"] == [0.5]
    assert torch.equal(model.weight, other.weight)
    for key, value in optimizer.state[model.weight].items():
        assert torch.equal(value, its.state[other.weight][key])


def test_last_names_the_newest_and_the_oldest_go(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.last() is None
    for step in (1, 2, 3):
        checkpoints.save(*trained(), Progress(10, step=step), {})
    assert checkpoints.last() == tmp_path / "step-00000003.safetensors"
    assert [path.name for path in sorted(tmp_path.glob("*.safetensors"))] == [
        "step-00000002.safetensors",
        "step-00000003.safetensors",
    ]


def test_going_back_to_an_earlier_step_never_loses_what_is_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3):
        Checkpoints(tmp_path, keep=9).save(*trained(), Progress(10, step=step * 500), {})
    checkpoints.save(*trained(), Progress(10, step=600), {})
    last = checkpoints.last()
    assert last is not None and last.name == "step-00000600.safetensors" and last.is_file()


def test_a_save_that_breaks_off_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    save_atomically(path, {"a": torch.ones(3)}, {"step": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ValueError, match="disk full"):
        save_atomically(path, {"a": torch.zeros(3)}, {"step": 2})
    tensors, header = read(path)
    assert header["step"] == 1 and tensors["a"].sum() == 3


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_files_are_refused_by_name(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    save_atomically(path, {"a": torch.ones(300)}, {"step": 1})
    path.write_bytes(path.read_bytes()[:-50] if damage is None else damage)
    with pytest.raises(ValueError, match=r"state.safetensors is no whole file of pcae's"):
        read(path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = Checkpoints(tmp_path, keep=1).save(*trained(), Progress(1), {})
    other = torch.nn.Linear(5, 5)
    with pytest.raises(ValueError, match="is of another model"):
        restore(path, other, build_optimizer(other, OptimizerConfig()), Progress(1))


def test_the_header_is_json(tmp_path):
    path = Checkpoints(tmp_path, keep=1).save(*trained(), Progress(1, step=1), {"settings": {"data": "ü"}})
    assert json.loads(json.dumps(read_header(path)))["settings"] == {"data": "ü"}


def test_a_disk_that_is_full_leaves_the_old_file_whole(tmp_path, monkeypatch):
    replace_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(Path, "write_bytes", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(ValueError, match=r"a\.txt cannot be written: No space left"):
        replace_text(tmp_path / "a.txt", "new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.txt", b"old")]
