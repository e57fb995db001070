"""What `pcae doctor` finds on this machine: versions, cores, devices, data, and extras that are missing."""

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import torch

from pcae.data import sample
from pcae.data.batches import count_cores
from pcae.training.distributed import pick_device
from pcae.training.plan import autocast_dtype

PACKAGES = ("pcae", "torch", "torchvision", "timm", "safetensors", "numpy", "pillow")
NOT_HERE = "not installed"

EXTRAS = {
    "scale": "hf:NAME, https:// and s3:// as data, indexes of pcae neighbours",
    "formats": "HEIC and DICOM files",
    "report": "the t-SNE map and clusters on the page of a run",
    "export": "pcae export --to onnx and web",
    "detection": "pcae detect",
    "wandb": "--log-to wandb",
    "mlflow": "--log-to mlflow",
}
"""What each extra is needed for."""


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
        **{f"extra {name}": state_of(name) for name in EXTRAS},
    }


def state_of(extra: str) -> str:
    """Whether the packages of an extra are here, and what cannot be done without."""
    packages = packages_of(extra)
    missing = [name for name in packages if version_of(name) == NOT_HERE]
    if not packages:
        return "not known to this installation; install pcae anew"
    if not missing:
        return "installed"
    return f"without {', '.join(missing)} there is no {EXTRAS[extra]}; pip install 'pcae[{extra}]'"


def packages_of(extra: str) -> list[str]:
    """The packages that an extra asks for, by pcae's own metadata."""
    try:
        lines = requires("pcae") or []
    except PackageNotFoundError:
        return []
    marked = [line for line in lines if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    return [re.match(r"[\w.-]+", line)[0] for line in marked]  # pyright: ignore[reportOptionalSubscript]


def version_of(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:  # pcae run from its source, say
        return NOT_HERE


def describe(device: torch.device) -> str:
    """The device and, for a GPU, its name and memory."""
    if device.type != "cuda":
        return device.type
    facts = torch.cuda.get_device_properties(device)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
