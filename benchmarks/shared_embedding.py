"""Whether processes that share the work of `pcae embed` give the same rows, and how much sooner.

    python benchmarks/shared_embedding.py [--images 20000] [--processes 1 2 4] [--rounds 3]

Writes made-up pictures of 48 x 48, embeds them with a ViT-Ti of random weights at 32 x 32 pixels by so many processes
of one thread each, in turns, and prints JSON: whether all rows, read as one, are the same bit for bit and in the same
order, and how many times as fast as one process each was, by the images per second that the folder's summary has
(median over the rounds). The start of the processes is not counted.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.dataset
import torch
from PIL import Image

from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.weights.files import save_model


def make(folder: Path, images: int) -> tuple[Path, Path]:
    """Pictures and weights."""
    noise, data = np.random.default_rng(0), folder / "data"
    for number in range(images):
        place = data / f"{number // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(256, size=(48, 48, 3), dtype=np.uint8)).save(place / f"{number:06d}.png")
    torch.manual_seed(0)
    config = EncoderConfig(model="vit_tiny_patch16_224", image_size=(32, 32), patch_size=4, channels=3)
    model = build_model(PretrainedFacts(encoder=config, mean=[0.5] * 3, std=[0.25] * 3))
    save_model(folder / "encoder.safetensors", model.encoder.vit, model.facts)
    return data, folder / "encoder.safetensors"


def embed(data: Path, weights: Path, out: Path, processes: int) -> float:
    """Images per second of so many processes."""
    with socket.create_server(("localhost", 0)) as free:
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "pcae", "embed", str(data), "--weights", str(weights), "--out", str(out)]
    shared = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(
            [*words, "--device", "cpu"],
            env=os.environ
            | (shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {"OMP_NUM_THREADS": "1"}),
            stderr=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    assert not any(one.wait() for one in started)
    return json.loads((out / "_summary.json").read_text())["images_per_second"]


def rows_of(out: Path) -> tuple[list[str], np.ndarray]:
    """Names and features, read as one."""
    table = pyarrow.dataset.dataset(out).to_table()
    return table["path"].to_pylist(), table["embedding"].combine_chunks().flatten().to_numpy()


def benchmark() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=20_000)
    words.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    words.add_argument("--rounds", type=int, default=3)
    said = words.parse_args()
    speeds: dict[int, list[float]] = {number: [] for number in said.processes}
    with tempfile.TemporaryDirectory() as name:
        data, weights = make(Path(name), said.images)
        for turn in range(said.rounds):
            for number in said.processes:
                speeds[number].append(embed(data, weights, Path(name) / f"{number}-{turn}", number))
        found = {number: rows_of(Path(name) / f"{number}-0") for number in said.processes}
    names, values = found[said.processes[0]]
    same = {n: rows[0] == names and bool(np.array_equal(rows[1], values)) for n, rows in found.items()}
    faster = {
        number: round(median(one / first for one, first in zip(some, speeds[said.processes[0]], strict=True)), 3)
        for number, some in speeds.items()
    }
    machine = {"machine": platform.machine(), "torch": torch.__version__}
    print(json.dumps({**vars(said), **machine, "same_rows": same, "times_as_fast": faster}, indent=2))


if __name__ == "__main__":
    benchmark()
