"""Embedding holds no more of many images than of few: features leave for the file batch by batch."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from pcae.data.images import Images
from pcae.data.lazy import Lazy
from pcae.data.unreadable import BadFiles
from pcae.evaluation.memory import Alive
from pcae.inference import embed
from pcae.inference.embed import embed_images
from pcae.settings.trained import TrainedConfig
from pcae.settings.verbs.embed import EmbedConfig
from tests.weights.exported import model_of


def listed(count: int) -> BadFiles:
    """So many images with long names, none of which is there before it is asked for, nor afterwards."""
    items = Lazy(partial(picture, (32, 48, 3)), range(count))
    return BadFiles(Images(items, Lazy("{:01000d}.png".format, range(count)), None, (), 3), 0.0)


def picture(shape: tuple[int, ...], index: int) -> np.ndarray:
    return np.full(shape, index % 256, np.uint8)


@pytest.fixture
def peaks(monkeypatch, tmp_path):
    """Bytes of tensors and of all that Python holds, at their peaks while so many images are embedded."""
    model = model_of()
    monkeypatch.setattr(embed, "open_trained", lambda config: model)

    def measure(count: int, suffix: str) -> tuple[int, int]:
        monkeypatch.setattr(embed, "open_shown", lambda *words: listed(count))
        out = tmp_path / f"out{suffix}"
        config = EmbedConfig(data="", model=TrainedConfig(weights=""), out=out, tokens=True, batch_size=16)
        tracemalloc.start()
        try:
            with Alive(model.parameters()) as alive:
                assert embed_images(config).images == count
            return alive.peak, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_ten_times_the_images_take_no_more_memory(peaks, suffix):
    """The features of an image take 2,304 bytes, its name 1,004: were they held, there would be 952,704 more."""
    peaks(16, suffix)  # what is made once
    (few, python), (many, python_of_many) = peaks(32, suffix), peaks(320, suffix)
    assert few == many and python_of_many - python < 200_000
