"""Milliseconds that `pcae check-data` takes for each JPEG of 500 x 375, comparing included.

usage: python benchmarks/check_data.py [--images 2000] [--rounds 3]
"""

import argparse
import contextlib
import io
import json
import platform
import tempfile
import time
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

from pcae.cli import main
from pcae.data.batches import count_cores


def make(folder: Path, count: int) -> None:
    """`count` different pieces of two photographs, enlarged by up to a half, as JPEG of quality 90."""
    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for index in range(count):
        image = sources[index % 2]
        width = image.width - index * 7 % (image.width // 3)
        height = width * 3 // 4 * min(1, image.height / (image.width * 3 // 4))
        left, top = index * 13 % (image.width - width + 1), index * 29 % max(1, int(image.height - height) + 1)
        piece = image.resize((500, 375), Image.Resampling.BICUBIC, box=(left, top, left + width, top + int(height)))
        piece.save(folder / f"{index:05d}.jpg", quality=90)


def once(folder: Path) -> float:
    """Seconds of one call, in process: without the start of Python."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        main(["check-data", str(folder), "--json", "--device", "cpu"])
    return time.perf_counter() - started


def benchmark() -> None:
    """Make the images, call, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=2_000)
    words.add_argument("--rounds", type=int, default=3)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), asked.images)
        size = sum(path.stat().st_size for path in Path(name).iterdir()) / asked.images / 1024
        seconds = [once(Path(name)) for _ in range(asked.rounds)]
    each = sorted(1e3 * value / asked.images for value in seconds)
    result = {"images": asked.images, "kib_an_image": round(size), "ms_an_image": [round(value, 3) for value in each]}
    print(json.dumps(result | {"cores": count_cores(), "machine": platform.machine()}))


if __name__ == "__main__":
    benchmark()
