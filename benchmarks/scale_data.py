"""What data cost as they grow: memory of a process for each million images, and finding one's place among a billion.

Memory is what opening the images and taking their fingerprint adds to the anonymous memory of a new process
(RssAnon: pages of mapped files, which the system may drop, do not count), over `--images` images of 8 x 8 pixels that
are written for it, scaled to a million. The simulation reads no image: it has `--samples` virtual ones in `--shards`
shards of unequal size, and lets each of `--ranks` processes work out, from nothing, which samples it reads at a step in
the middle of an epoch; then all samples of a few steps of all processes are held against each other.

usage: python benchmarks/scale_data.py [--images 100000] [--samples 1000000000] [--shards 100000] [--ranks 1000]
"""

import argparse
import contextlib
import gc
import io
import json
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from pcae.cli import main
from pcae.data.images import open_images
from pcae.data.shards.lanes import Lanes
from pcae.data.shards.shard_list import index_text

PER_SHARD = 5_000
LANES, ROWS = 8, 4
"""Lanes of a process, and rows of a step that each has."""
STEPS = 3
"""Steps in a row of which all samples are held against each other."""


def anonymous() -> int:
    """Bytes of this process that are in no file."""
    gc.collect()
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines["RssAnon"].split()[0])


def opening(data: str) -> int:
    """Bytes that opening images adds, in this process."""
    open_images("sample").digest()  # what is loaded once does not count
    before = anonymous()
    images = open_images(data)
    images.digest()
    return anonymous() - before


def picture() -> bytes:
    """A small image."""
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 60).save(buffer, "PNG")
    return buffer.getvalue()


def make(root: Path, count: int) -> dict[str, str]:
    """The same images as a folder, as shards and their index, and packed; what names each of these."""
    content = picture()
    for first in range(0, count, PER_SHARD):
        folder = root / "folder" / f"{first:09d}"
        folder.mkdir(parents=True)
        (root / "shards").mkdir(exist_ok=True)
        with tarfile.open(root / "shards" / f"train-{first // PER_SHARD:06d}.tar", "w") as tar:
            for number in range(first, min(first + PER_SHARD, count)):
                (folder / f"{number:012d}.png").write_bytes(content)
                info = tarfile.TarInfo(f"{first:09d}/{number:012d}.png")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    with contextlib.redirect_stderr(io.StringIO()):
        main(["index", str(root / "shards"), str(root / "shards" / "index.json")])
        main(["pack", str(root / "shards"), str(root / "packed"), "--side", "8"])
    return {
        "a folder, listed": str(root / "folder"),
        "shards, by their headers": str(root / "shards"),
        "a packed folder": str(root / "packed"),
        "shards, as a stream": str(root / "shards" / "index.json"),
    }


def memory(count: int) -> dict[str, float]:
    """Megabytes for a million images, by how they lie; each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        kinds = make(Path(name), count)
        return {kind: round(added_by(data) / count, 3) for kind, data in kinds.items()}  # as many bytes an image


def added_by(data: str) -> int:
    """Bytes that opening images adds to a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--opening", data], capture_output=True, check=True)
    return int(done.stdout)


def of_index(shards: int, samples: int) -> float:
    """Megabytes for an index of so many shards, none of which needs to be there, and for all of their samples."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "index.json"
        counts = {f"s3://bucket/data/train-{number:06d}.tar": samples // shards for number in range(shards)}
        out.write_text(index_text(counts, out))
        return round(added_by(str(out)) / 1e6, 1)


def simulate(samples: int, shards: int, ranks: int) -> dict[str, Any]:
    """How long processes take to find their place, and whether they share any sample. Raises SystemExit if so."""
    sizes = np.random.default_rng(0).integers(samples // shards // 2, samples // shards * 3 // 2, shards)
    sizes[-1] += samples - sizes.sum()
    assert sizes.min() > 0
    lanes, ends = ranks * LANES, np.cumsum(sizes)
    step = int(np.random.default_rng(1).integers(samples // (lanes * ROWS)))
    seconds, seen = [], []
    for rank in range(ranks):
        plan = Lanes(sizes, lanes, 64, seed=0)  # anew, as each process has it
        started = time.perf_counter()
        places = [next(plan.blocks(lane, step * ROWS)) for lane in range(rank * LANES, (rank + 1) * LANES)]
        seconds.append(time.perf_counter() - started)
        assert all(place == step * ROWS % 64 for _, place in places)
        for lane in range(rank * LANES, (rank + 1) * LANES):
            seen += rows(plan, lane, step * ROWS, STEPS * ROWS, ends)
    parts = [plan.part(lane) for lane in range(lanes)]
    whole = parts[0].start == 0 and parts[-1].stop == samples
    if len(set(seen)) < len(seen) or not whole or any(a.stop != b.start for a, b in pairwise(parts)):
        raise SystemExit("processes share samples, or leave some out")
    return {
        "samples": samples,
        "shards": shards,
        "ranks": ranks,
        "lanes": lanes,
        "step": step,
        "ms_to_find_its_place": round(1e3 * median(seconds), 2),
        "ms_at_most": round(1e3 * max(seconds), 2),
        "samples_compared": len(seen),
    }


def rows(plan: Lanes, lane: int, number: int, count: int, ends: np.ndarray) -> list[int]:
    """So many samples of a lane from one on, numbered through all shards."""
    found: list[int] = []
    for block, place in plan.blocks(lane, number):
        there = [int(ends[shard] - plan.counts[shard]) + row for shard, row in block.rows()]
        found += [there[index] for index in block.order[place:]]
        if len(found) >= count:
            return found[:count]
    raise AssertionError


def benchmark() -> None:
    """Measure, simulate, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=100_000)
    words.add_argument("--samples", type=int, default=10**9)
    words.add_argument("--shards", type=int, default=100_000)
    words.add_argument("--ranks", type=int, default=1_000)
    words.add_argument("--json", action="store_true")
    words.add_argument("--opening", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.opening:
        print(opening(asked.opening))
        return
    held, index = memory(asked.images), of_index(asked.shards, asked.samples)
    found = simulate(asked.samples, asked.shards, asked.ranks)
    if asked.json:
        print(
            json.dumps(
                {
                    "mb_per_million_images": held,
                    "mb_of_the_index": index,
                    **found,
                    "images": asked.images,
                    "on": platform.machine(),
                }
            )
        )
        return
    print(f"memory of a process for a million images (measured over {asked.images:,})")
    for kind, size in held.items():
        print(f"  {kind:<28}{size:10.2f} MB")
    print(f"  a stream of {asked.samples:,} samples in {asked.shards:,} shards: {index} MB in all")
    print(f"{found['samples']:,} samples in {found['shards']:,} shards, {found['ranks']:,} processes of {LANES} lanes")
    took = f"{found['ms_to_find_its_place']} ms, {found['ms_at_most']} at most"
    print(f"  finding its place at step {found['step']}: {took}")
    print(
        f"  {found['samples_compared']:,} samples of {STEPS} steps: each in one place; all parts together are the epoch"
    )


if __name__ == "__main__":
    benchmark()
