"""The script that measures what is claimed of a GPU: it goes on whatever a section does, and runs here on a CPU."""

import importlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmarks.step_kernels import Kernels, count_kernels

from pcae.benchmarking.entries import Conditions
from pcae.settings.network import DecoderConfig, EncoderConfig

FAST = {"row": "mae", "images_per_second": 7000.0}, {"row": "pcae-85", "images_per_second": 13000.0}
SLOW = {"row": "mae", "images_per_second": 6500.0}, {"row": "pcae-85", "images_per_second": 13300.0}


@pytest.fixture
def script(monkeypatch):
    """The script, which imports its neighbours as a script does."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("gpu")


@pytest.fixture
def run(script, monkeypatch, tmp_path):
    """Runs it, and says what each section wrote."""

    def call(*words: str) -> dict[str, dict]:
        monkeypatch.setattr(sys, "argv", ["gpu.py", str(tmp_path), "--device", "cpu", "--rounds", "1", *words])
        script.main()
        return {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}

    return call


def test_a_section_that_fails_or_no_longer_fits_is_named_and_passed_over(script, run, monkeypatch, capsys):
    def fail(said):
        raise RuntimeError("CUDA error: out of\nmemory")

    def endless(said):
        while True:
            time.sleep(0.01)

    now = [0.0]  # seconds by a clock of the test's own, which a busy machine does not slow
    clock = SimpleNamespace(perf_counter=lambda: now[0])

    def measured(rows):
        def measure(said):
            now[0] += 0.1
            return {"rows": rows}

        return measure

    monkeypatch.setattr(script, "time", clock)
    sections = [
        ("training-1", 1, measured(FAST)),
        ("broken", 1, fail),
        ("endless", 20, endless),
        ("long", 600, fail),
        ("training-2", 1, measured(SLOW)),
    ]
    monkeypatch.setattr(script, "SECTIONS", [script.Section(*section) for section in sections])
    found = run("--minutes", "0.1")
    assert found["broken"]["failed"] == "RuntimeError: CUDA error: out of memory"
    assert found["endless"]["failed"] == "CutShort: after 0 s"
    assert found["long"]["skipped"].startswith("8 s are its share, ")
    assert found["training-2"]["rows"] and {*found} == {name for name, _, _ in sections} | {"claims"}
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == [name for name, _, _ in sections]
    judged = {claim["claim"]: (claim["measured"], claim["verdict"]) for claim in found["claims"]}
    assert judged["MAE, images/s"] == (7000, "holds") and judged["PCAE 85 %, images/s"] == (13300, "holds")
    assert judged["PCAE 85 % against our MAE"] == (13300 / 7000, "falls short")
    assert judged["4 views, per view, against our MAE"] == (None, "not measured")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_one_call_measures_everything_and_holds_it_against_the_claims(script, run):
    found = run("--quick")
    assert {*found} == {section.name for section in script.SECTIONS} | {"claims"}
    assert {name: one for name, one in found.items() if name != "claims" and {*one} & {"failed", "skipped"}} == {}
    assert all(claim["measured"] is not None for claim in found["claims"] if "drop ratio" not in claim["claim"])
    assert found["training-512-compiled"]["compiled"] and not found["training-512-eager"]["compiled"]
    assert "peak_bytes" not in found["training-512-graphs"]["rows"][0]
    assert 0 < found["from-packed"]["rows"][0]["data_wait_share"] < 1
    assert found["profile"]["rows"][0]["part"].startswith("aten::") and "gains" in found["step-parts"]


def kernels_of(call) -> dict[str, int]:
    with Kernels() as kernels:
        call()
    return dict(kernels.started)


def test_views_and_allocations_start_no_kernel():
    values = torch.ones(4, 6)
    assert kernels_of(lambda: values.view(2, 12).t()[:, 1:].unsqueeze(0).expand(3, -1, -1).detach()) == {}
    assert kernels_of(lambda: torch.empty_like(values).new_empty(3)) == {}
    assert kernels_of(lambda: values.t().reshape(24)) == {"clone": 1}  # which copies


def test_kernels_of_a_linear_layer_and_back_are_those_of_its_formulas():
    """y = Wx + b and its sum; its gradient of ones, which is expanded: dW in a product, db in a sum."""
    layer, values = torch.nn.Linear(6, 3), torch.ones(4, 6)
    assert kernels_of(lambda: layer(values).sum().backward()) == {"addmm": 1, "sum": 2, "ones_like": 1, "mm": 1}


def test_every_block_of_a_step_starts_as_many_kernels():
    """Those of MAE grow by the same with every block of the encoder; its host waits for none."""

    def counted(depth: int) -> int:
        encoder = EncoderConfig(image_size=(16, 16), patch_size=4, channels=3, width=24, depth=depth, heads=2)
        decoder = DecoderConfig(decoder_width=16, decoder_heads=2, decoder_depth=1)
        at = Conditions(
            encoder=encoder, decoder=decoder, batch_size=2, steps=1, rounds=1,
            device=torch.device("cpu"), autocast=torch.bfloat16, compiled=False,
        )  # fmt: skip
        (row,) = count_kernels(["mae"], at)["rows"]
        assert row["host_waits"] == 0
        return row["operators"]

    two, three, four = map(counted, (2, 3, 4))
    assert 0 < three - two == four - three < two
