"""A few images of the built-in sample, where thousands would only take longer."""

from pathlib import Path

import pytest
from PIL import Image

from pcae.data import sample

TRAIN, TEST = 120, 40


def labelled(root: Path) -> str:
    """A folder with train/CLASS and val/CLASS of the first images of the sample's splits, all ten classes in each."""
    for split, count in (("train", TRAIN), ("val", TEST)):
        pixels, labels = sample.sample("train" if split == "train" else "test")
        for index in range(count):
            folder = root / split / f"class-{labels[index]}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[index]).save(folder / f"{index:03d}.png")
    return str(root)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `sample` be so few images."""
    read = sample.read_idx
    monkeypatch.setattr(sample, "SAMPLE_TRAIN", TRAIN)
    monkeypatch.setattr(sample, "read_idx", lambda path: read(path)[: TRAIN + TEST])
