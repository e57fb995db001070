"""What tests share: small encoders and the random numbers of a step."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pcae.model.encoder import Encoder, build_encoder
from pcae.pages import run_page
from pcae.runs import run
from pcae.settings.network import EncoderConfig
from pcae.training.randomness import StepRandom, randomness

torch.set_num_threads(1)
os.environ["PYTHONFAULTHANDLER"] = "1"  # a process started by a test that crashes says where

TINY = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(32, 48), patch_size=8, channels=3, width=24, depth=6, heads=2
)
WRITE_REPORT = run_page.write_report


def write_empty_page(run: Path) -> Path:
    page = run / "report.html"
    page.write_text("")
    return page


@pytest.fixture(scope="session", autouse=True)
def no_pages():
    """The page that a run ends with takes more than a second, longer than most runs here: it is empty, but for tests
    that are marked with `page`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_page, "write_report", write_empty_page)
        yield


@pytest.fixture(autouse=True)
def real_page(request, monkeypatch, no_pages):
    """The page as it is, for tests that are marked with `page`."""
    if "page" in request.keywords:
        monkeypatch.setattr(run_page, "write_report", WRITE_REPORT)


@pytest.fixture(scope="session", autouse=True)
def statistics_once():
    """Mean and deviation of the built-in sample, a third of a short run on it, are computed once for each size."""
    compute, known = run.pixel_statistics, {}

    def look_up(images, size, bad_files, **options):
        if images.stream is not None or not images.names[0].startswith("sample/"):
            return compute(images, size, bad_files, **options)
        asked = len(images), images.channels, size
        if asked not in known:
            known[asked] = compute(images, size, bad_files, **options)
        return known[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "pixel_statistics", look_up)
        yield


@pytest.fixture
def config() -> EncoderConfig:
    return TINY


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_encoder(TINY)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(4, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def random() -> StepRandom:
    return randomness(seed=3, step=5, batch_size=4, device=torch.device("cpu"))


@pytest.fixture
def unprivileged():
    """A context in which files' permissions count, for root too; the folder given is made reachable."""

    @contextmanager
    def as_nobody(folder: Path):
        if os.geteuid() != 0:
            yield
            return
        modes = {path: path.stat().st_mode for path in (folder, *folder.parents) if path.owner() == "root"}
        for path, mode in modes.items():
            path.chmod(mode | 0o055)
        os.seteuid(65_534)
        try:
            yield
        finally:
            os.seteuid(0)
            for path, mode in modes.items():
                path.chmod(mode)

    return as_nobody
