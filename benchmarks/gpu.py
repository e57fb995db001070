"""Everything that is claimed of a GPU, measured in one call of a few minutes; next to nothing of it with --quick.

    python benchmarks/gpu.py OUT [--minutes 8] [--device cuda] [--rounds 5] [--only SECTION ...] [--quick]

Section by section, the most wanted first, all in this process. Each writes OUT/SECTION.json as soon as it is done. One
that fails leaves its error there in one line and is passed over. One that no longer fits into the minutes is named, not
begun; one that takes twice its share is cut short. OUT/claims.json has each claim, what was measured and whether it
holds, after every section anew. `--quick` measures tiny networks for a moment: then the claims mean nothing.

`compiled` is blocks compiled; `graphs` is the same with mode="reduce-overhead": each block's kernels are replayed by
CUDA graphs, for one micro-batch a step (see `compile_blocks`). Peak memory is left out there: graphs keep theirs.
"""

import argparse
import gc
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import step_kernels
import step_memory
import step_parts
import torch
from gpu_claims import PAIR, claims
from PIL import Image
from torch._inductor import config as inductor
from torch.profiler import ProfilerActivity, profile

from pcae.benchmarking.entries import ENTRIES, Conditions, stepper_of
from pcae.benchmarking.measurements import described, measure_inference, measure_training
from pcae.benchmarking.speed import measure_speed
from pcae.model.compiled import GRAPHS
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.settings.verbs.pack import PackConfig
from pcae.sharing.packing import pack_images
from pcae.training.distributed import pick_device
from pcae.training.plan import autocast_dtype
from pcae.writing import replace_json

Found = dict[str, Any]
TINY = {"width": 48, "depth": 3, "heads": 3}
OTHERS = ("mae", "mae-lite", "pcae-75", "pcae-90", "pcae-85-4-views")


@dataclass(frozen=True)
class Section:
    """A part of the measurement, and the seconds that it should take of eight minutes."""

    name: str
    seconds: float
    measure: Callable[[argparse.Namespace], Found]


def conditions(said: argparse.Namespace, batch: int, way: str = "eager", size: str = "base", **more: Any) -> Conditions:
    """What rows share: ViT-S, -B or -L in bf16 where the device has it."""
    model, device = f"vit_{size}_patch16_224", pick_device(said.device)
    small = {"decoder_width": 32, "decoder_heads": 2, "decoder_depth": 1} if said.quick else {}
    shared = Conditions(
        encoder=EncoderConfig(model=model, **TINY if said.quick else {}),
        decoder=DecoderConfig(**small),
        batch_size=2 if said.quick else batch,
        steps=1 if said.quick else 10,
        rounds=said.rounds,
        device=device,
        autocast=autocast_dtype("auto", device),
        compiled=way != "eager",
        compile_mode=GRAPHS if way == "graphs" else None,
    )
    return replace(shared, **more)


def training(batch: int, way: str, said: argparse.Namespace, rows: tuple[str, ...] = PAIR, size: str = "base") -> Found:
    """Steps on made-up images, all rows taking turns."""
    at = conditions(said, batch, way, size)
    found = measure_training([ENTRIES[name] for name in rows], "mae", at, None)
    for row in found["rows"] if way == "graphs" else ():
        del row["peak_bytes"], row["kept_bytes"]
    return {"batch_size": at.batch_size, "way": way, **described(at), **found}


def inference(precision: str, way: str, said: argparse.Namespace) -> Found:
    """Classifying by drop ratio, one image and many at once."""
    more = {"autocast": None} if precision == "fp32" else {}
    at = conditions(said, 0, way, **more)
    ratios = (0.0, 0.4) if said.quick or precision == "fp32" else (0.0, 0.1, 0.2, 0.3, 0.4)
    return {"way": way, **described(at), **measure_inference(ratios, (2,) if said.quick else (1, 256), at)}


def from_packed(said: argparse.Namespace) -> Found:
    """Training fed from a packed folder of one made-up picture over and over, whose content does not matter to speed.

    A GPU holds them all: the reading processes give boxes alone, which are copied ahead.
    """
    at = conditions(said, 512)
    with tempfile.TemporaryDirectory() as place:
        pictures, packed = Path(place) / "pictures", Path(place) / "packed"
        pictures.mkdir()
        Image.effect_noise((340, 256), 60).convert("RGB").save(pictures / "0.jpg")
        for index in range(1, 16 if said.quick else 2048):
            shutil.copy(pictures / "0.jpg", pictures / f"{index}.jpg")
        pack_images(PackConfig(data=str(pictures), out=packed, side=256))
        return measure_speed(
            BenchmarkConfig(
                data=str(packed), rows=("pcae-85",), against="pcae-85", batch_size=at.batch_size, rounds=said.rounds,
                device=said.device, encoder=at.encoder, decoder=at.decoder, reading=DataConfig(),
            )
        )  # fmt: skip


def memory(said: argparse.Namespace) -> Found:
    """Peak of a step of ViT-L, blocks remembered or computed again."""
    return step_memory.measure([*PAIR], [2, 6] if said.quick else [128, 256], conditions(said, 0, size="large"))


def counted(said: argparse.Namespace) -> Found:
    """Kernels that a step starts, and operators that the host waits for: on CUDA the first such ends the section."""
    at = conditions(said, 2, autocast=torch.bfloat16)
    if at.device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        return step_kernels.count_kernels(PAIR, at)
    finally:
        if at.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def profiled(said: argparse.Namespace) -> Found:
    """Where the time of three steps of PCAE at 85 % goes, and the share of it in which the device was at work."""
    at = conditions(said, 512, "eager" if said.quick else "compiled")
    stepper, on_gpu = stepper_of(ENTRIES["pcae-85"], at), at.device.type == "cuda"
    stepper.step(3)
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as found:
        began = time.perf_counter()
        stepper.step(3)
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    there = [part for part in found.key_averages() if on_gpu is (part.device_type.name != "CPU")]
    parts = sorted((part for part in there if not part.is_user_annotation), key=lambda part: -getattr(part, own))
    rows = [{"part": part.key, "us": getattr(part, own), "calls": part.count} for part in parts]
    return {"seconds": seconds, "busy_share": sum(row["us"] for row in rows) / 1e6 / seconds, "rows": rows[:40]}


def parts_of_step(said: argparse.Namespace) -> Found:
    """What the parts of a step take."""
    model, batch = ("vit_tiny_patch16_224", 2) if said.quick else ("vit_base_patch16_224", 512)
    asked = {"model": model, "batch": batch, "rounds": said.rounds, "compile": not said.quick}
    return step_parts.measure(argparse.Namespace(**asked), pick_device(said.device))


SECTIONS = [
    Section("training-512-eager", 15, partial(training, 512, "eager")),
    *(Section(f"training-{batch}-compiled", 45, partial(training, batch, "compiled")) for batch in (512, 1024, 256)),
    Section("kernels", 10, counted),
    Section("from-packed", 45, from_packed),
    *(Section(f"training-{batch}-graphs", 45, partial(training, batch, "graphs")) for batch in (256, 512, 1024)),
    Section("inference-bf16-compiled", 50, partial(inference, "bf16", "compiled")),
    Section("inference-bf16-eager", 10, partial(inference, "bf16", "eager")),
    Section("inference-fp32-eager", 15, partial(inference, "fp32", "eager")),
    Section("inference-fp32-compiled", 25, partial(inference, "fp32", "compiled")),
    Section("memory", 15, memory),
    Section("profile", 15, profiled),
    Section("step-parts", 30, parts_of_step),
    Section("more-rows-512-eager", 20, partial(training, 512, "eager", rows=OTHERS)),
    Section("vit-s-1024-eager", 10, partial(training, 1024, "eager", size="small")),
    Section("vit-l-256-eager", 15, partial(training, 256, "eager", size="large")),
]


class CutShort(Exception):
    """A section took too long. No TimeoutError: torch's compiler would take it for one of its own."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """CutShort in what takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise CutShort(f"after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def plain_kernels(quick: bool) -> AbstractContextManager[None]:
    """With --quick the compiler writes no kernels of its own, which takes a CPU minutes."""
    return inductor.patch(fallback_by_default=True) if quick else nullcontext()


def outcome(section: Section, said: argparse.Namespace, left: float) -> Found:
    """What a section finds, or in one line why it did not."""
    share, began = section.seconds * said.minutes / 8, time.perf_counter()
    if share > left:
        return {"section": section.name, "skipped": f"{share:.0f} s are its share, {max(left, 0):.0f} s are left"}
    try:
        with at_most(left if said.quick else min(2 * share, left)), plain_kernels(said.quick):
            found = section.measure(said)
    except Exception as error:  # whatever a driver or a compiler may raise: the others are still to be measured
        found = {"failed": " ".join([f"{type(error).__name__}:", *str(error).split()])[:300]}
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()
    return {"section": section.name, "took": round(time.perf_counter() - began, 1), **found}


def main() -> None:
    """Measure section by section."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("--minutes", type=float, default=8.0)
    words.add_argument("--device", default="cuda")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS])
    words.add_argument("--quick", action="store_true")
    said = words.parse_args()
    end, found = time.perf_counter() + 60 * said.minutes, {}
    said.out.mkdir(parents=True, exist_ok=True)
    for section in SECTIONS:
        if said.only and section.name not in said.only:
            continue
        one = found[section.name] = outcome(section, said, end - time.perf_counter())
        replace_json(said.out / f"{section.name}.json", one)
        replace_json(said.out / "claims.json", claims(found))
        said_of_it = one.get("failed") or one.get("skipped") or f"{one['took']} s"
        print(f"{section.name}: {said_of_it}", file=sys.stderr, flush=True)
    print(json.dumps(claims(found), indent=2))


if __name__ == "__main__":
    main()
