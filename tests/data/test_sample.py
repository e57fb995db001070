import gzip
import hashlib
import struct

import numpy as np
import pytest

from pcae.data import sample
from pcae.data.images import open_images


def test_the_sample_is_shipped_with_a_fixed_split():
    (images, labels), (held_out, its_labels) = sample.sample("train"), sample.sample("test")
    assert images.shape == (9000, 28, 28) and held_out.shape == (1000, 28, 28)
    assert np.bincount(np.concatenate([labels, its_labels])).sum() == 10_000 and labels.max() == 9
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == "9b69cf1900edecbb"
    assert (sample.SAMPLE / "LICENSE").read_text().startswith("The MIT License")


def write_idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_fashion_mnist_is_read_where_debian_puts_it(tmp_path, monkeypatch):
    for stem, count in (("train", 6), ("t10k", 2)):
        pixels = np.arange(count * 784, dtype=np.uint32).astype(np.uint8).reshape(count, 28, 28)
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", pixels)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8))
    monkeypatch.setattr(sample, "DEBIAN", tmp_path)
    train, test = open_images("fashion-mnist", "train"), open_images("fashion-mnist", "test")
    assert (len(train), len(test)) == (6, 2) and train.labels == [0, 1, 2, 3, 4, 5] and train.channels == 1


@pytest.mark.skipif(not sample.DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist_holds_the_sample():
    """CI installs the package."""
    images, labels = sample.fashion_mnist("train")
    assert images.shape == (60_000, 28, 28) and sample.fashion_mnist("test")[0].shape == (10_000, 28, 28)
    assert np.array_equal(images[:9000], sample.sample("train")[0])
    assert np.array_equal(labels[9000:10_000], sample.sample("test")[1])


def test_without_debians_package_torchvision_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "DEBIAN", tmp_path / "nowhere")
    monkeypatch.setattr(sample, "CACHE", tmp_path)

    def no_network(*args, **kwargs):
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    with pytest.raises(ValueError, match="could not be downloaded"):
        sample.fashion_mnist("train")


def test_what_is_no_idx_file_is_refused(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"hello world"))
    with pytest.raises(ValueError, match="is not an IDX file"):
        sample.read_idx(tmp_path / "a.gz")
