"""A run that goes on in the middle of an epoch equals one that was never stopped, however its images are stored."""

import tarfile
from pathlib import Path

import datasets
import pytest
import torch

from pcae.cli import main
from pcae.training.checkpoint import read
from tests.photographs import make_folder

STEPS = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--image-size", "32", "32", "--patch-size", "8", "--batch-size", "4", "--steps", "9",
    "--checkpoint-every", "1", "--keep-checkpoints", "9", "--device", "cpu", "--health-every", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """22 photographs, so that 9 steps of 4 end in the second epoch, after one that ends in the middle of a step."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    make_folder(folder, 22)
    return folder


def as_folder(photos: Path, place: Path) -> str:
    return str(photos)


def as_list(photos: Path, place: Path) -> str:
    names = [str(path) for path in sorted(photos.iterdir())]
    (place / "list.txt").write_text("\n".join(names))
    return str(place / "list.txt")


def as_shards(photos: Path, place: Path) -> str:
    paths = sorted(photos.iterdir())
    for number in range(3):
        with tarfile.open(place / f"{number}.tar", "w") as tar:
            for index, path in enumerate(paths[number::3]):
                tar.add(path, f"{index:03d}{path.suffix}")
    return str(place / "{0..2}.tar")


def as_pixels(photos: Path, place: Path) -> str:
    main(["pack", str(photos), str(place / "packed"), "--image-size", "40", "40"])
    return str(place / "packed")


def as_jpegs(photos: Path, place: Path) -> str:
    main(["pack", str(photos), str(place / "packed"), "--side", "40"])
    return str(place / "packed")


def as_rows(photos: Path, place: Path) -> str:
    rows = datasets.Dataset.from_dict({"image": [str(path) for path in sorted(photos.iterdir())]})
    rows.cast_column("image", datasets.Image()).save_to_disk(place / "rows")
    return f"hf:{place / 'rows'}"


@pytest.mark.parametrize("stored", [as_folder, as_list, as_shards, as_pixels, as_jpegs, as_rows])
@pytest.mark.parametrize(("step", "workers"), [(2, "0"), (7, "2")])
def test_on_from_the_middle_of_an_epoch_is_the_same_run_to_the_bit(photos, tmp_path, stored, step, workers):
    (tmp_path / "data").mkdir()
    words = ["pretrain", stored(photos, tmp_path / "data"), *STEPS]
    main([*words, "--out", str(tmp_path / "unbroken")])
    checkpoint = tmp_path / "unbroken" / "checkpoints" / f"step-{step:08d}.safetensors"
    main([*words, "--out", str(tmp_path / "other"), "--resume", str(checkpoint), "--workers", workers])
    expected, found = (
        read(tmp_path / run / "checkpoints" / "step-00000009.safetensors")[0] for run in ("unbroken", "other")
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
