"""Runs on the caller's own Datasets and transforms: the run of a folder to the last digit, interrupted or not."""

import json

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import pcae
from tests.processes import assert_close, assert_same, succeed, together
from tests.runs.own_data import OWN, TINY

pytestmark = pytest.mark.trains

TASK = {
    "from_scratch": True, "weights": None, "model": "vit_tiny_patch16_224", "width": 24, "depth": 4, "heads": 2,
    "image_size": (16, 16), "patch_size": 4, "batch_size": 4, "device": "cpu", "checkpoint_every": 2,
    "keep_checkpoints": 99, "drop_ratio": 0.3, "steps": 3,
}  # fmt: skip


class Own(Dataset):
    """What a person writes: files and classes, opened by Pillow, in a dict, without a word about its labels."""

    def __init__(self, folder):
        self.paths, self.classes = sorted(folder.rglob("*.png")), sorted(path.name for path in folder.iterdir())

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        return {"image": Image.open(path).convert("RGB"), "label": self.classes.index(path.parent.name)}


class Torn(Own):
    """One image of it cannot be read."""

    def __getitem__(self, index):
        if index == 3:
            raise KeyError("no image")
        return super().__getitem__(index)


def rows(folder):
    paths, classes = sorted(folder.rglob("*.png")), sorted(path.name for path in folder.iterdir())
    columns = {"picture": [str(path) for path in paths], "label": [classes.index(path.parent.name) for path in paths]}
    kinds = {"picture": datasets.Image(), "label": datasets.ClassLabel(names=classes)}
    return datasets.Dataset.from_dict(columns, datasets.Features(kinds))


OBJECTS = {"ImageFolder": ImageFolder, "own": Own, "rows": rows}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """train and val folders of PNG files, which every library decodes to the same pixels."""
    noise, place = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for split in ("train", "val"):
        for label in "ab":
            (place / split / label).mkdir(parents=True)
            for index in range(5):
                pixels = noise.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / split / label / f"{index}.png")
    return place


@pytest.fixture(scope="module")
def of_folder(photos, tmp_path_factory):
    """Pre-training and fine-tuning on the folder."""
    out = tmp_path_factory.mktemp("runs")
    pcae.pretrain(photos / "train", out / "pretrain", steps=4, **TINY)
    pcae.finetune(photos, out / "finetune", **TASK)
    return out


@pytest.mark.parametrize("name", OBJECTS)
def test_pretraining_on_objects_is_that_of_their_folder_interrupted_too(photos, of_folder, tmp_path, name):
    data = OBJECTS[name](photos / "train")
    pcae.pretrain(data, tmp_path / "run", steps=4, workers=1, **TINY)
    assert_same(of_folder / "pretrain", tmp_path / "run", 4)
    second = tmp_path / "run" / "checkpoints" / "step-00000002.safetensors"
    pcae.pretrain(data, tmp_path / "on", steps=4, resume=str(second), **TINY)
    assert_same(of_folder / "pretrain", tmp_path / "on", 4)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"] == f"{type(data).__name__}(10)"


@pytest.mark.parametrize("name", OBJECTS)
def test_finetuning_on_objects_is_that_of_their_folder(photos, of_folder, tmp_path, name):
    train, test = (OBJECTS[name](photos / split) for split in ("train", "val"))
    done = pcae.finetune(train, tmp_path / "run", validation=test, **TASK)
    assert_same(of_folder / "finetune", tmp_path / "run", 3)
    assert (done["classes"], done["held_out"]) == (2, 10)


def test_an_item_that_raises_is_replaced_and_named(photos, tmp_path):
    pcae.pretrain(Torn(photos / "train"), tmp_path / "run", steps=4, max_bad_files=0.2, **TINY)
    lines = (tmp_path / "run" / "bad-files.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"file": "[3]", "reason": "KeyError: 'no image'"}]
    with pytest.raises(ValueError, match=r"1 of 10 images cannot be read: 'Torn\(10\)\[3\]' \(KeyError: 'no image'\)"):
        pcae.pretrain(Torn(photos / "train"), tmp_path / "strict", steps=4, **TINY)
    assert not (tmp_path / "strict").exists()


def test_a_transform_holds_over_interruptions_and_is_part_of_the_run(photos, tmp_path, capsys):
    pcae.pretrain(photos / "train", tmp_path / "run", transform=OWN, steps=4, workers=2, **TINY)
    said = " ".join(capsys.readouterr().err.split())
    assert "transform in place of crops, mirroring and what else is done to images: Compose( RandomResizedCrop" in said
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["transform"].startswith("Compose( RandomResizedCrop") and config["flip"] is False
    second = str(tmp_path / "run" / "checkpoints" / "step-00000002.safetensors")
    pcae.pretrain(photos / "train", tmp_path / "on", transform=OWN, steps=4, resume=second, **TINY)
    assert_same(tmp_path / "run", tmp_path / "on", 4)
    other = v2.RandomResizedCrop((16, 16))
    for given in ({}, {"transform": other}):
        with pytest.raises(ValueError, match=r"is of a run with transform = Compose\(.*, not (None|RandomResizedCrop)"):
            pcae.pretrain(photos / "train", tmp_path / "again", steps=4, resume=second, **TINY, **given)


def test_a_transform_takes_the_place_of_what_finetuning_does_to_images(photos, tmp_path):
    pcae.finetune(photos, tmp_path / "run", transform=v2.Resize((16, 16)), **TASK)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["auto_augment"], config["erasing"], config["flip"], config["mixup"]) == ("none", 0.0, False, 0.8)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"transform": OWN, "crop_scale": (0.5, 1.0)}, "transform stands in the place of crop_scale; leave crop_scale"),
        ({"transform": 3}, "transform must be a callable on an image, got int"),
        ({"transform": "Compose()"}, "transform 'Compose\\(\\)' is an object of Python's"),
        ({"transform": v2.Resize((8, 8))}, "gives 8 x 8 pixels, and the model takes 16 x 16"),
        ({"knn_data": [np.zeros((4, 4, 3), np.uint8)] * 2}, "knn_data: .* has no held-out images; give .*train"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(photos, tmp_path, knobs, message):
    with pytest.raises(ValueError, match=message):
        pcae.pretrain(photos / "train", tmp_path / "run", steps=2, **TINY, **knobs)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_equal_one_on_a_dataset_and_a_transform_of_ones_own(photos, tmp_path):
    for processes in (1, 2):
        words = ["tests.runs.own_data", str(photos / "train"), str(tmp_path / str(processes)), "4"]
        succeed(*together(words, processes))
    assert_close(tmp_path / "1", tmp_path / "2", 4)
