"""Whether memory and bookkeeping of work in parts stay flat: made-up images, an encoder that returns constants.

    python benchmarks/made_up_rows.py [--rows 100000 1000000 10000000] [--names 1000000]

Prints JSON: by rows, the peak resident memory of a process that writes 8 columns of all of them, of `pcae embed`'s own
machinery with another encoder, and the seconds in which a process that goes on finds that nothing is missing. Then
that of `pcae embed` of a folder with so many names, links to one picture, with a real encoder of the smallest size,
before it embeds the first of them. Each is a process of its own.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pcae.data.images import Images, open_images
from pcae.data.lazy import Lazy
from pcae.data.unreadable import BadFiles, Batch
from pcae.inference.feature_files import schema_of, table_of
from pcae.sharing.cuts import cut, rows_of_a_part
from pcae.sharing.in_parts import InParts, Work
from pcae.sharing.part_folder import PartFolder
from pcae.training.distributed import World

PIXELS = torch.zeros(3, 4, 4, dtype=torch.uint8)


def pixels(index: int) -> Tensor:
    """A made-up image."""
    return PIXELS


def constants(names: Any, batch: Batch) -> Any:
    """8 columns of a batch."""
    return table_of([names[index] for index in batch.indices], np.ones((len(batch.indices), 8), np.float32))


def made_up(rows: int, out: str) -> dict[str, float]:
    """Write so many rows, and go on where nothing is missing."""
    images = Images(Lazy(pixels, range(rows)), Lazy("{:012d}.png".format, range(rows)), None, (), 3)
    work = Work("writing", pixels, dict, schema_of((8,)), partial(constants, images.names), "none is")
    world, folder = World(0, 1, torch.device("cpu")), PartFolder(out)
    InParts(work, folder, BadFiles(images, 0.0), world, 1024, 0).run()
    peak, before = peak_megabytes(), time.perf_counter()
    left = InParts(work, folder, BadFiles(images, 0.0), world, 1024, 0)
    missing = left.begin(cut(images, rows_of_a_part(rows, 1024)), rows_of_a_part(rows, 1024))
    return {
        "peak_mb": peak,
        "parts": len(folder.finished()),
        "missing": len(missing),
        "list_s": time.perf_counter() - before,
    }


def named(count: int, folder: str) -> dict[str, float]:
    """Open a folder of so many links to one picture, and cut it into parts."""
    picture = Path(folder) / "one.png"
    Image.new("RGB", (8, 8)).save(picture)
    inside = Path(folder) / "links"
    for number in range(count):
        if number % 10_000 == 0:
            (inside / f"{number // 10_000:04d}").mkdir(parents=True)
        (inside / f"{number // 10_000:04d}" / f"{number:09d}.png").symlink_to(picture)
    before, start = peak_megabytes(), time.perf_counter()
    images = open_images(str(inside))
    parts = cut(images, rows_of_a_part(len(images), 64))
    images.digest()
    seconds = time.perf_counter() - start
    return {
        "before_mb": before,
        "peak_mb": peak_megabytes(),
        "images": len(images),
        "parts": len(parts),
        "list_s": seconds,
    }


def peak_megabytes() -> float:
    """The most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(what: str, count: int) -> dict[str, float]:
    """What a new process says."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--do", what, str(count), folder]
        return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def benchmark() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    words.add_argument("--names", type=int, nargs="+", default=[10**6])
    words.add_argument("--do", nargs=3, help=argparse.SUPPRESS)
    said = words.parse_args()
    if said.do:
        what, count, folder = said.do
        print(
            json.dumps(
                {"rows": made_up, "names": named}[what](int(count), f"{folder}/out" if what == "rows" else folder)
            )
        )
        return
    found = {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "rows": {count: in_a_process("rows", count) for count in said.rows},
        "names": {count: in_a_process("names", count) for count in said.names},
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    benchmark()
