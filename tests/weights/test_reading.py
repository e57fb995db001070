import argparse
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf

from pcae.weights.files import load
from pcae.weights.reading import read_torch
from tests.weights.tiny import assert_same_features, pixels, tiny_vit


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


@pytest.mark.parametrize("name", ["last.ckpt", "a.pth.tar", "a.pkl", "a.safetensors", "weights"])
def test_a_file_of_torchs_is_read_whatever_it_is_called(tmp_path, name):
    vit = tiny_vit()
    torch.save({"state_dict": {f"model.{key}": value for key, value in vit.state_dict().items()}}, tmp_path / name)
    model = load(tmp_path / name)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


@pytest.mark.parametrize("name", ["a.pth", "pytorch_model.bin", "weights"])
def test_a_file_of_safetensors_is_read_whatever_it_is_called(tmp_path, name):
    vit = tiny_vit()
    save_file(vit.state_dict(), tmp_path / name)
    model = load(tmp_path / name)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.onnx"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS.*git lfs pull"),
        (b"", "none of torch.save's: it is empty"),
        (b"<!DOCTYPE html>", "none of torch.save's: it begins with b'<!DOCTYPE html>'"),
    ],
)
def test_files_without_weights_are_refused_as_what_they_are(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / name)


def test_programs_and_arrays_are_refused_as_what_they_are(tmp_path):
    layer, images = torch.nn.Linear(2, 2), torch.ones(1, 2)
    torch.export.save(torch.export.export(layer, (images,)), tmp_path / "a.pt2")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("b/code/__torch__.py", "")
    np.savez(tmp_path / "c.npz", a=images)
    for name, kind in (("a.pt2", "an exported program"), ("b.pt", "a TorchScript program"), ("c.npz", "NumPy's")):
        with pytest.raises(ValueError, match=f"{name} is .*{kind}.*give the weights that it was made of"):
            load(tmp_path / name)
