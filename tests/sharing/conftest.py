"""Small pictures, a small classifier, and the features that one process writes to one file."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from pcae.cli import main
from pcae.weights.files import save_model
from tests.weights.exported import model_of

IMAGES = 150


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Small pictures, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("data")
    noise = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(noise.integers(256, size=(40, 50, 3), dtype=np.uint8)).save(folder / f"{number:03d}.png")
    for number in (20, 149):
        (folder / f"{number:03d}.png").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "classifier.safetensors"
    model = model_of(classes=["a", "b", "c"])
    save_model(path, model.encoder.vit, model.facts)
    return path


@pytest.fixture(scope="session")
def alone(data, weights, tmp_path_factory) -> tuple[list[str], np.ndarray]:
    """Names and features by one process to one file."""
    out = tmp_path_factory.mktemp("alone") / "features.parquet"
    main(["embed", str(data), "--weights", str(weights), "--out", str(out), "--batch-size", "8", "--device", "cpu"])
    return features(pyarrow.parquet.read_table(out))


def features(table) -> tuple[list[str], np.ndarray]:
    return table["path"].to_pylist(), np.stack(table["embedding"].to_pylist())
