"""Everything that is claimed of a GPU, measured in one call; a share of it on any device, to see that it runs.

    python benchmarks/gpu.py OUT [--device cuda] [--rounds 7] [--quick]

Into the folder OUT go the JSON, Markdown and pictures of `pcae benchmark`: training of ViT-S, ViT-B and ViT-L on
made-up images, inference by drop ratio, and ViT-B fed from a packed folder that is made for it; a profile of a step;
`step-parts.json`; and `claims.json`: each claim, what was measured, and whether it holds. `--quick` measures tiny
networks for a moment: then the claims mean nothing. transformers and lightly are rows where they are installed, by
peers.py.
"""

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from pcae.evaluation.stepper import Stepper
from pcae.methods.pcae import PCAE
from pcae.model.compiled import compile_blocks
from pcae.model.encoder import build_encoder
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.distributed import pick_device
from pcae.training.optimizer import build_optimizer
from pcae.training.plan import autocast_dtype

BATCHES = {"vit_small_patch16_224": 1024, "vit_base_patch16_224": 512, "vit_large_patch16_224": 256}
TINY = ["--width", "48", "--depth", "3", "--heads", "3", "--decoder-width", "32", "--decoder-heads", "2"]
BASE = "vit_base_patch16_224"
PEERS = [name for name in ("transformers", "lightly") if find_spec(name)]
ROWS = ["mae", "mae-lite", "pcae-75", "pcae-85", "pcae-90", "pcae-85-4-views", *PEERS]
PICTURES = 2048
INFERENCE = {0.1: (1.05, 1.12), 0.2: (1.20, 1.30), 0.3: (1.38, 1.52), 0.4: (1.60, 1.78)}
"""Times as fast as without dropping, by drop ratio: what is claimed, and what is aimed at."""


def pcae(*words: str) -> None:
    """A command line of pcae. Ends this one where it fails."""
    subprocess.run([sys.executable, "-m", "pcae", *words], check=True)


def measured(out: Path, name: str, said: argparse.Namespace, *words: str) -> dict[str, Any]:
    """What `pcae benchmark` finds, or peers.py of other people's rows, which write it into the folder."""
    path = out / f"{name}.json"
    sizes = TINY if said.quick else []
    peers = [str(Path(__file__).parent / "peers.py")]
    script = peers if {*PEERS} & {*words} else ["-m", "pcae", "benchmark"]
    words = ("--device", said.device, "--rounds", str(said.rounds), "--out", str(path), *sizes, *words)
    subprocess.run([sys.executable, *script, *words], check=True)
    return json.loads(path.read_text(encoding="utf-8"))


def training(out: Path, said: argparse.Namespace, model: str) -> dict[str, Any]:
    """Training on made-up images."""
    batch = 4 if said.quick else BATCHES[model]
    rows = ROWS if model == BASE else [name for name in ROWS if name not in PEERS]
    return measured(out, f"training-{model}", said, "--model", model, "--batch-size", str(batch), "--rows", *rows)


def inference(out: Path, said: argparse.Namespace) -> dict[str, Any]:
    """Classifying by drop ratio, one image and many at once."""
    batches = ["1", "4" if said.quick else "256"]
    sizes = TINY[:6] if said.quick else []
    path = out / "inference.json"
    words = ["--device", said.device, "--rounds", str(said.rounds), "--model", BASE, "--batch-sizes", *batches, *sizes]
    pcae("benchmark", "--mode", "inference", "--out", str(path), *words)
    return json.loads(path.read_text(encoding="utf-8"))


def from_packed(out: Path, said: argparse.Namespace) -> dict[str, Any]:
    """Training fed from a packed folder of made-up pictures, whose content does not matter to the speed.

    They are few: a GPU holds them all, and the reading processes give boxes alone.
    """
    pictures, packed = out / "pictures", out / "packed"
    pictures.mkdir()
    for index in range(64 if said.quick else PICTURES):
        Image.effect_noise((340, 256), 60).convert("RGB").save(pictures / f"{index:04d}.jpg")
    pcae("pack", str(pictures), str(packed), "--side", "256")
    batch = "4" if said.quick else str(BATCHES[BASE])
    words = ["--data", str(packed), "--batch-size", batch, "--rows", "pcae-85", "--against", "pcae-85"]
    return measured(out, "training-from-packed", said, *words)


def profiled(out: Path, said: argparse.Namespace) -> None:
    """Where the time of a step of PCAE at 85 % goes, operator by operator."""
    device = pick_device(said.device)
    config = EncoderConfig(width=48, depth=3, heads=3) if said.quick else EncoderConfig()
    method = PCAE(build_encoder(config), PCAEConfig(mask_ratio=0.85)).to(device)
    if device.type == "cuda":
        compile_blocks(method)
    images = torch.randn(4 if said.quick else BATCHES[BASE], 3, 224, 224, device=device)
    stepper = Stepper(method, build_optimizer(method, OptimizerConfig()), images, autocast_dtype("auto", device))
    stepper.step(3)
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")]
    with profile(activities=activities) as found:
        stepper.step(3)
    order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    (out / "profile.txt").write_text(found.key_averages().table(sort_by=order, row_limit=40), encoding="utf-8")


def step_parts(out: Path, said: argparse.Namespace) -> None:
    """What the parts of a step take."""
    script = Path(__file__).parent / "step_parts.py"
    small = ["--model", "vit_tiny_patch16_224", "--batch", "2"] if said.quick else ["--batch", str(BATCHES[BASE])]
    words = [*small, "--device", said.device, "--rounds", str(said.rounds)]
    words += [] if said.quick else ["--compile"]
    found = subprocess.run([sys.executable, str(script), *words], check=True, stdout=subprocess.PIPE, text=True).stdout
    (out / "step-parts.json").write_text(found, encoding="utf-8")


def claims(base: dict[str, Any], by_ratio: dict[str, Any], packed: dict[str, Any]) -> list[dict[str, Any]]:
    """Each claim of a GPU with what was measured; the absolute ones are of an H100."""
    rows = {row["row"]: row for row in base["rows"]}
    ours, many = rows["pcae-85"], max(row["batch_size"] for row in by_ratio["rows"])
    found = [
        ("PCAE 85 %, images/s", ours["images_per_second"], 10_000, 14_000),
        ("PCAE 85 % against our MAE", ours["times_as_fast"], 1.9, None),
        ("4 views, per view, against our MAE", rows["pcae-85-4-views"]["per_view"], 2.6, None),
        ("from a packed folder against made-up images", speed(packed["rows"][0]) / speed(ours), 0.9, None),
    ]
    found += [(f"PCAE 85 % against {name}", speed(ours) / speed(rows[name]), 3.0, None) for name in PEERS[:1]]
    for row in by_ratio["rows"]:
        if row["batch_size"] == many and row["drop_ratio"] in INFERENCE:
            least, aim = INFERENCE[row["drop_ratio"]]
            found.append((f"inference at drop ratio {row['drop_ratio']:g}", row["times_as_fast"], least, aim))
    return [
        {"claim": what, "measured": round(value, 3), "at_least": least, "aim": aim, "holds": value >= least}
        for what, value, least, aim in found
    ]


def speed(row: dict[str, Any]) -> float:
    """Images per second."""
    return row["images_per_second"]


def benchmark() -> None:
    """Measure everything, and hold it against the claims."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("--device", default="cuda")
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--quick", action="store_true")
    said = words.parse_args()
    said.out.mkdir(parents=True)
    trained = {model: training(said.out, said, model) for model in ([BASE] if said.quick else BATCHES)}
    by_ratio, packed = inference(said.out, said), from_packed(said.out, said)
    found = claims(trained[BASE], by_ratio, packed)
    (said.out / "claims.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    profiled(said.out, said)
    step_parts(said.out, said)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    benchmark()
