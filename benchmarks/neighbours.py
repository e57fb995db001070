"""Recall, build and query cost of the index of `pcae neighbours`, against exact search by torch.

The rows are features of shifted and turned images of Fashion-MNIST: of a run by --weights, or without it the first
principal components of their pixels. Seconds are those of this process on the CPU, with one thread, and only ratios of
them are given.

usage: python benchmarks/neighbours.py [--rows 1000000] [--weights RUN] [--data sample] [--queries 1000] [--out FILE]
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import pcae
from pcae.search.exact import exact_neighbours
from pcae.search.index import CONNECTIVITY, SEARCHED, SEARCHED_TO_ADD, index_of
from pcae.search.rows import HeldRows
from pcae.writing import replace_json

COMPONENTS = 96
"""Principal components, as many as the small runs have features."""


def moved(data: str, count: int, batch: int = 1_000) -> Iterator[torch.Tensor]:
    """So many images, uint8: each turned by up to 30 degrees and shifted by up to a fifth of its half side."""
    images = pcae.open_images(data)
    pixels = torch.from_numpy(np.stack([np.asarray(images.items[index]) for index in range(len(images))]))
    pixels, random = pixels.float().reshape(-1, 1, 28, 28), torch.Generator().manual_seed(0)
    for start in range(0, count, batch):
        size = min(batch, count - start)
        some = torch.randint(len(pixels), (size,), generator=random)
        angle = (torch.rand(size, generator=random) - 0.5) * torch.pi / 3
        shift = (torch.rand(size, 2, generator=random) - 0.5) * 0.4
        rows = [torch.stack([angle.cos(), -angle.sin(), shift[:, 0]], 1)]
        rows += [torch.stack([angle.sin(), angle.cos(), shift[:, 1]], 1)]
        grid = F.affine_grid(torch.stack(rows, 1), [size, 1, 28, 28], align_corners=False)
        yield F.grid_sample(pixels[some], grid, align_corners=False).round().to(torch.uint8)


def encoder(data: str, count: int, weights: str | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """What makes features of images: the mean of a run's patch tokens, or principal components."""
    if weights is not None:
        model = pcae.load(weights)
        return lambda images: model(images).tokens.mean(1)
    first = torch.cat(list(moved(data, min(count, 20_000)))).flatten(1).float()
    _, _, axes = torch.pca_lowrank(first, COMPONENTS)
    return lambda images: (images.flatten(1).float() - first.mean(0)) @ axes


@torch.inference_mode()
def features(data: str, count: int, weights: str | None) -> np.ndarray:
    """A row an image."""
    encode = encoder(data, count, weights)
    return np.concatenate([encode(images).numpy() for images in moved(data, count)])


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long this process works, and what comes of it."""
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def measure(rows: np.ndarray, count: int) -> dict[str, Any]:
    """Search the neighbours of rows exactly and by an index."""
    held = HeldRows(rows)
    queries = rows[np.random.default_rng(0).choice(len(rows), count, replace=False)]
    exact_time, exact = seconds(lambda: exact_neighbours(held, queries, 10))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        build_time, index = seconds(lambda: index_of(held, [], path, 1, print))
        size = path.stat().st_size / rows.nbytes
        index.neighbours(queries[:100], 10)  # pages of the file come into memory
        index_time, found = seconds(lambda: index.neighbours(queries, 10))
    shared = sum(len(set(one) & set(other)) for one, other in zip(exact.rows, found.rows, strict=True))
    return {
        "recall_at_10": round(shared / exact.rows.size, 4),
        "copies": len(index.pairs),
        "query_time_of_exact": round(index_time / exact_time, 5),
        "build_time_in_exact_searches_of_these_queries": round(build_time / exact_time, 1),
        "bytes_of_features": round(size, 2),
    }


def benchmark() -> None:
    """Make the features, measure, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", default="fashion-mnist")
    words.add_argument("--rows", type=int, default=1_000_000)
    words.add_argument("--weights")
    words.add_argument("--queries", type=int, default=1_000)
    words.add_argument("--out", type=Path)
    asked = words.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = features(asked.data, asked.rows, asked.weights)
    told = " ".join(["python", "benchmarks/neighbours.py", *sys.argv[1:]])
    result = {
        "command": told,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, 1 thread; shared with other work, so that only ratios are given",
        "versions": {name: version(name) for name in ("usearch", "torch", "numpy")},
        "features": asked.weights or f"{COMPONENTS} principal components of the pixels",
        "rows": len(rows),
        "width": rows.shape[1],
        "queries": asked.queries,
        "settings": {"connectivity": CONNECTIVITY, "add": SEARCHED_TO_ADD, "search": SEARCHED},
        **measure(rows, asked.queries),
    }
    print(json.dumps(result, indent=2))
    if asked.out is not None:
        replace_json(asked.out, result)


if __name__ == "__main__":
    benchmark()
