import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from timm.models import save_for_hf

from pcae.weights.files import load
from pcae.weights.reading import read_torch
from tests.weights.tiny import tiny_vit


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", [lambda payload: payload, lambda payload: argparse.Namespace(model=payload)])
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(tmp_path, zipped, inside):
    content = {"model": tiny_vit().state_dict(), "args": inside(Payload(tmp_path / "ran"))}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"a.pth wants to run \w+.mkdir when it is opened: refused") as caught:
        load(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists() and "\n" not in str(caught.value)
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


def test_not_even_through_timm(tmp_path, monkeypatch):
    """Older releases of timm ask torch.load to run what is there."""
    save_for_hf(tiny_vit(), tmp_path, safe_serialization=False)
    (weights,) = tmp_path.glob("*.bin")
    torch.save(tiny_vit().state_dict() | {"more": Payload(tmp_path / "ran")}, weights)
    careless = "timm.models._builder.load_state_dict_from_path"
    monkeypatch.setattr(careless, lambda *_, **__: torch.load(weights, weights_only=False))
    with pytest.raises(ValueError, match="cannot be had"):
        load(f"timm:local-dir:{tmp_path}")
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more", pickle.dumps([1, 2])])
def test_damaged_files_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="a.pth") as caught:
        read_torch(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {"epoch": 3}, {"model": {"name": "vit"}}])
def test_a_file_without_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a.pt holds no tensors by name"):
        read_torch(tmp_path / "a.pt")
