"""The reserved words: `sample`, shipped in the package, and `fashion-mnist`, all of it."""

import gzip
from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).parent / "sample"
SAMPLE_TRAIN = 9_000
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CACHE = Path.home() / ".cache" / "pcae"
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of a gzipped IDX file. Raises ValueError when it is not one."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes")
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(tuple(shape))


def sample(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (28 x 28) and labels of 10,000 Fashion-MNIST training images: the first 9,000 train, the others test."""
    rows = slice(0, SAMPLE_TRAIN) if split == "train" else slice(SAMPLE_TRAIN, None)
    return read_idx(SAMPLE / "images-idx3-ubyte.gz")[rows], read_idx(SAMPLE / "labels-idx1-ubyte.gz")[rows]


def fashion_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of Fashion-MNIST (60,000 / 10,000): Debian's package, else torchvision's download."""
    if DEBIAN.is_dir():
        stem = "train" if split == "train" else "t10k"
        return read_idx(DEBIAN / f"{stem}-images-idx3-ubyte.gz"), read_idx(DEBIAN / f"{stem}-labels-idx1-ubyte.gz")
    from torchvision.datasets import FashionMNIST

    try:
        found = FashionMNIST(CACHE, train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"fashion-mnist could not be downloaded to {CACHE} ({error}); on Debian, install dataset-fashion-mnist"
        ) from error
    return found.data.numpy(), found.targets.numpy().astype(np.uint8)
