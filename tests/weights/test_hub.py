"""Weights of the Hugging Face Hub, of a stand-in on this machine: fetched once, safetensors alone, or refused."""

import json
import os
import subprocess
import sys

import huggingface_hub.constants
import pytest
import torch

import pcae
from pcae.cli import main
from pcae.weights.export.formats import export
from pcae.weights.files import find, save_model
from tests import hub
from tests.weights.exported import model_of, pictures

CLASSES = ["fox", "owl", "bee"]


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The Hub, with an empty cache."""
    with hub.hub() as server:
        at_address(server.address, tmp_path, monkeypatch)
        yield server


def at_address(address, tmp_path, monkeypatch):
    """Have the Hub be there, which its client reads from variables when it is imported, and an empty cache."""
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in (
        ("ENDPOINT", address),
        ("HUGGINGFACE_CO_URL_TEMPLATE", template),
        ("HF_HUB_CACHE", str(tmp_path / "cache")),
    ):
        monkeypatch.setattr(huggingface_hub.constants, name, value)


def publish(server, folder, to, name="me/model"):
    """An export in a repository; the model."""
    model = model_of(classes=CLASSES)
    if to == "run":
        folder.mkdir()
        save_model(folder / "classifier.safetensors", model.encoder.vit, model.facts)
    else:
        export(model, to, folder, 0.0, [pictures(model, 2)])
    server.folders[name] = folder
    return model


@pytest.mark.parametrize("to", ["timm", "hf", "run"])
def test_exports_and_run_folders_are_read_from_the_hub(served, tmp_path, to):
    model, images = publish(served, tmp_path / "folder", to), pictures(model_of(), 2)
    (tmp_path / "folder" / "pytorch_model.bin").write_bytes(b"a pickle")
    (tmp_path / "folder" / "more").mkdir()
    (tmp_path / "folder" / "more" / "other.safetensors").write_bytes(b"gigabytes")
    again = pcae.load("hf-hub:me/model")
    with torch.no_grad():
        torch.testing.assert_close(again.classifier(0.0)(images), model.classifier(0.0)(images), rtol=0, atol=1e-6)
    assert again.facts.classes == CLASSES and again.facts.mean == model.facts.mean
    assert {name.rpartition(".")[2] for name in served.fetched} <= {"safetensors", "json"}
    assert "other.safetensors" not in served.fetched
    assert find("hf-hub:me/model@v1").source == "hf-hub:me/model@v1 (commit c0ffee000000)"


def test_what_was_fetched_is_read_without_a_network(served, tmp_path, monkeypatch):
    publish(served, tmp_path / "folder", "timm")
    pcae.load("hf-hub:me/model")
    fetched = len(served.fetched)
    pcae.load("hf-hub:me/model")
    assert len(served.fetched) == fetched
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    served.folders.clear()
    assert pcae.load("hf-hub:me/model").facts.classes == CLASSES
    with pytest.raises(ValueError, match="hf-hub:me/other cannot be had: .*check name and connection"):
        pcae.load("hf-hub:me/other")


def refused(capsys, weights):
    with pytest.raises(SystemExit) as stop:
        main(["embed", "sample", "--weights", weights, "--out", "features.npy"])
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("pcae: ")]
    assert stop.value.code == 2 and len(lines) == 1
    return lines[0]


def test_pickles_are_refused_also_where_another_program_left_them_in_the_cache(served, tmp_path, capsys):
    folder = tmp_path / "folder"
    publish(served, folder, "hf")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    huggingface_hub.snapshot_download("me/model")
    said = refused(capsys, "hf-hub:me/model")
    assert "have no model.safetensors" in said and "pickles run code; ask their owner for safetensors" in said


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("hf-hub:me/gone", "cannot be had"),
        ("hf-hub:me/model@gone", "cannot be had"),
        ("hf-hub:me/model@", "name no revision behind @"),
        ("hf-hub:../../etc/passwd", "cannot be had"),
        ("hf-hub:", "cannot be had"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(served, tmp_path, capsys, weights, says):
    served.folders["me/model"] = tmp_path
    assert says in refused(capsys, weights)


def test_no_network_is_one_line_with_the_remedy(tmp_path, monkeypatch, capsys):
    at_address("http://127.0.0.1:9", tmp_path, monkeypatch)
    said = refused(capsys, "hf-hub:me/model")
    assert "check name and connection, or give a folder that was downloaded elsewhere" in said


def test_a_damaged_repository_is_refused(served, tmp_path, capsys):
    publish(served, tmp_path / "folder", "timm")
    (tmp_path / "folder" / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    assert "weights hf-hub:me/model: weights timm:local-dir:" in refused(capsys, "hf-hub:me/model")


@pytest.mark.slow
def test_the_hubs_own_variables_count_and_timm_reads_our_folder(tmp_path):
    """In a process of its own, in which nothing is patched."""
    script = """
import timm, torch, pcae
ours = pcae.load("hf-hub:me/model")
theirs = timm.create_model("hf-hub:me/model", pretrained=True).eval()
images = torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8)
with torch.no_grad():
    assert torch.allclose(ours.classifier(0.0)(images), theirs(ours.normalise(images)), atol=1e-5)
assert theirs.pretrained_cfg["label_names"] == ["fox", "owl", "bee"]
"""
    variables = os.environ | {"HF_HUB_CACHE": str(tmp_path / "cache")}
    with hub.hub() as server:
        publish(server, tmp_path / "folder", "timm")
        variables["HF_ENDPOINT"] = server.address
        subprocess.run([sys.executable, "-c", script], env=variables, check=True)
    subprocess.run([sys.executable, "-c", script], env=variables | {"HF_HUB_OFFLINE": "1"}, check=True)
