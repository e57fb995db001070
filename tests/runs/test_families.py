"""From new weights to a file that runs elsewhere, in each of timm's families: pre-training, fine-tuning, measuring and
exporting take them all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pcae

pytestmark = [pytest.mark.slow, pytest.mark.trains]
NETWORK: dict[str, Any] = {"width": 48, "depth": 4, "heads": 3, "patch_size": 7, "image_size": 28}
DECODER: dict[str, Any] = {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}
SHORT: dict[str, Any] = {"steps": 1, "batch_size": 4, "device": "cpu"}
MODELS = {
    "vit_small_patch16_dinov3": "avg",
    "vit_small_patch16_rope_mixed_ape_224": "avg",
    "beit_base_patch16_224": "avg",
    "naflexvit_base_patch16_gap": "avg",
    "deit_tiny_distilled_patch16_224": "token",
}
"""A model of each family, and the pooling of its classifier."""


@pytest.fixture(scope="module", params=MODELS)
def runs(request, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    pcae.pretrain("sample", place / "encoder", model=request.param, **NETWORK, **DECODER, **SHORT)
    pcae.finetune(
        "sample", place / "classifier", weights=place / "encoder", drop_ratio=0.3, global_pool=MODELS[request.param],
        drop_path=0.1, **SHORT,
    )  # fmt: skip
    return place


def test_every_verb_takes_them(runs, tmp_path):
    rows = pcae.evaluate("sample", weights=runs / "classifier", rounds=0, drop_ratio=[0, 0.3]).rows
    assert rows[1]["gmacs"] < 0.85 * rows[0]["gmacs"]
    assert pcae.probe("sample", weights=runs / "encoder", probes="knn", most_images=100, device="cpu").probes
    shown = pcae.show("sample", weights=runs / "encoder", out=tmp_path / "kept", most_images=1, keep_ratio=0.5)
    assert [len(row["kept_ids"]) for row in shown.records() if row["mode"] == "whole"] == [8, 4, 2]
    larger = pcae.load(runs / "classifier", image_size=42)
    assert larger.encoder.grid == (6, 6)
    pooling = pcae.load(runs / "classifier").facts.global_pool
    frozen = pcae.finetune(
        "sample", tmp_path / "frozen", weights=runs / "encoder", freeze="encoder", global_pool=pooling, **SHORT
    )
    assert pcae.evaluate("sample", weights=tmp_path / "frozen", rounds=0).rows[0]["top1"] == frozen["top1"]
    again = pcae.pretrain("sample", tmp_path / "on", init=str(runs / "encoder"), **DECODER, **SHORT)
    assert np.isfinite(again["loss"])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("method", "decoder"), [("mae", DECODER), ("simmim", {})])
def test_other_methods_take_them(model, method, decoder, tmp_path):
    found = pcae.pretrain("sample", tmp_path / "run", model=model, method=method, **NETWORK, **decoder, **SHORT)
    assert np.isfinite(found["loss"])


def test_a_network_with_positions_of_rows_and_columns_is_read_back(tmp_path):
    name = "naflexvit_base_patch16_parfac_gap"
    pcae.pretrain("sample", tmp_path / "run", model=name, **NETWORK, **DECODER, **SHORT)
    assert pcae.load(tmp_path / "run").encoder.grid == (4, 4)


def test_a_fixed_teacher_of_other_patches_is_shown_in_its_size(tmp_path):
    network = {name: value for name, value in NETWORK.items() if name not in {"patch_size", "image_size"}}
    pcae.pretrain(
        "sample", tmp_path / "teacher", model="vit_small_patch16_dinov3", patch_size=8, image_size=32, **network,
        **DECODER, **SHORT,
    )  # fmt: skip
    teacher = str(tmp_path / "teacher")
    pcae.pretrain(
        "sample", tmp_path / "run", model="vit_tiny_patch16_224", teacher=teacher, **NETWORK, **DECODER, **SHORT
    )
    for sides, kept in ((28, [11, 7, 4]), (56, [44, 30, 21])):
        shown = pcae.show(
            "sample",
            weights=tmp_path / "run",
            out=tmp_path / f"{sides}",
            most_images=1,
            keep_ratio=0.7,
            image_size=sides,
        )
        assert [len(row["kept_ids"]) for row in shown.records() if row["mode"] == "whole"] == kept


def test_a_distilled_network_says_which_pooling_it_has(tmp_path):
    with pytest.raises(ValueError, match="pools its two tokens, not by 'avg'; use global_pool='token'"):
        pcae.finetune(
            "sample", tmp_path / "run", from_scratch=True, model="deit_tiny_distilled_patch16_224", **NETWORK, **SHORT
        )


@pytest.mark.parametrize("to", ["timm", "safetensors", "onnx", "torch-export"])
def test_exports_answer_alike(runs, tmp_path, to):
    place = tmp_path / f"out{ {'safetensors': '.safetensors', 'onnx': '.onnx', 'torch-export': '.pt2'}.get(to, '') }"
    ratio = {"drop_ratio": 0.3} if to in {"onnx", "torch-export"} else {}
    exported = pcae.export(runs / "classifier", to=to, out=place, data="sample", **ratio)
    assert exported.check["holds"] and not exported.check["different"]
    if to in {"timm", "safetensors"}:
        images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
        ours, theirs = (
            pcae.load(one).classifier(0.3, fold="append", criterion="mean-similarity")
            for one in (runs / "classifier", place)
        )
        torch.testing.assert_close(theirs(images), ours(images))
