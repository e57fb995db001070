"""What `pcae doctor` finds on this machine: versions, cores, devices, data that is there."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from pcae.data import sample
from pcae.data.batches import count_cores
from pcae.training.distributed import pick_device
from pcae.training.plan import autocast_dtype

PACKAGES = ("pcae", "torch", "torchvision", "timm", "safetensors", "numpy", "pillow")


def look() -> dict[str, Any]:
    """What is here."""
    device = pick_device("auto")
    dtype = autocast_dtype("auto", device)
    return {
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
        "cores": count_cores(),
        "default device": describe(device),
        "default precision": "fp32" if dtype is None else "bf16",
        "GPUs": torch.cuda.device_count(),
        "sample": "shipped, 9,000 / 1,000 images",
        "fashion-mnist": str(sample.DEBIAN) if sample.DEBIAN.is_dir() else f"would be downloaded to {sample.CACHE}",
    }


def version_of(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:  # pcae run from its source, say
        return "not installed"


def describe(device: torch.device) -> str:
    """The device and, for a GPU, its name and memory."""
    if device.type != "cuda":
        return device.type
    facts = torch.cuda.get_device_properties(device)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
