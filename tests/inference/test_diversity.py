"""`pcae diversity`: several models in one plot, everything in JSON, and one line for what cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.cli import main
from pcae.evaluation.diversity import nuclear_norm
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.model.tokens import all_ids, patchify
from pcae.settings.network import EncoderConfig
from pcae.weights.files import load, save_model

SIZES = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(32, 48), patch_size=8, channels=3, width=24, depth=6, heads=2
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_model(path, build_encoder(SIZES).vit, PretrainedFacts(encoder=SIZES, mean=[0.4] * 3, std=[0.3] * 3))
    return str(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(chance.integers(0, 255, (32, 48, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def measured(capsys, *words: str) -> dict:
    capsys.readouterr()
    main(["diversity", *words, "--device", "cpu", "--json"])
    return json.loads(capsys.readouterr().out)


def test_diversity_of_a_trained_model_is_that_of_its_tokens(capsys, photos, weights):
    found = measured(capsys, str(photos), "--weights", weights, "--reductions", "none", "ptr")
    (model,) = found["models"]
    assert (model["label"], model["seeds"], model["images"]) == ("tiny.safetensors", 1, 5)
    assert model["tokens"] == [24, 12, 12, 6, 6, 3, 3] and model["stages_after"] == [0, 2, 4]
    trained = load(weights)
    pixels = [np.asarray(Image.open(path)).copy() for path in sorted(photos.iterdir())]
    patches = patchify(trained.normalise(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)), (8, 8))
    with torch.inference_mode():
        encoded = trained.encoder(patches, all_ids(5, 24, patches.device), (4, 6), prefix=False, record=range(6))
    norms = nuclear_norm(encoded.recorded[5][0])
    last = model["diversity"]["none"]["after"][6]
    assert last["mean"] == pytest.approx(norms.mean().item(), abs=1e-5) and last["over_seeds"] is None
    assert last["over_images"] == pytest.approx(norms.std().item() / 5**0.5, abs=1e-5)
    output = model["diversity"]["none"]["output"]["mean"]
    assert output == pytest.approx(nuclear_norm(encoded.tokens).mean().item(), abs=1e-5)
    assert {claim["claim"] for claim in model["claims"]} >= {
        "diversity: ptr > none",
        "distance of two: stages > random",
    }


@pytest.mark.slow
def test_random_weights_take_the_first_other_ones_sizes_and_differ_by_seed(capsys, tmp_path, photos, weights):
    words = [
        "--weights",
        "random",
        weights,
        "--labels",
        "none yet",
        "tiny",
        "--seeds",
        "2",
        "--out",
        str(tmp_path / "o"),
    ]
    found = measured(capsys, str(photos), *words, "--batch-size", "2")
    random, tiny = found["models"]
    assert random["encoder"] == tiny["encoder"] and (random["label"], tiny["label"]) == ("none yet", "tiny")
    assert random["seeds"] == 2 and random["diversity"]["none"]["after"][6]["over_seeds"] > 0
    assert json.loads((tmp_path / "o" / "diversity.json").read_text()) == found
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names == {f"{name}{end}" for name in ("diversity", "claims") for end in (".png", ".svg")} | {
        "diversity.json"
    }
    again = measured(capsys, str(photos), *words[:-2])  # neither batches nor the run before change it
    for dropping in ("none", "random", "ptr"):
        one, other = (result["models"][0]["diversity"][dropping]["after"][6] for result in (found, again))
        assert one["mean"] == pytest.approx(other["mean"], abs=1e-6)


def test_without_ptr_there_are_no_claims_of_it_and_no_picture_of_them(capsys, tmp_path, photos, weights):
    words = ["--weights", weights, "--reductions", "random", "sampled", "--out", str(tmp_path / "o")]
    (model,) = measured(capsys, str(photos), *words)["models"]
    assert [claim["claim"] for claim in model["claims"]] == ["diversity: random > sampled"]
    assert model["measured"] == {} and not (tmp_path / "o" / "claims.png").exists()


def test_images_are_left_out_that_cannot_be_read(capsys, tmp_path, photos, weights):
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "torn.png").write_bytes(b"no picture")
    found = measured(capsys, str(tmp_path), "--weights", weights, "--max-bad-files", "0.5")
    assert [*found["bad_files"]] == [str(tmp_path / "torn.png")] and found["models"][0]["images"] == 5
    few = measured(capsys, str(photos), "--weights", weights, "--most-images", "2", "--reductions", "ptr")
    assert few["models"][0]["images"] == 2


def test_the_table_says_what_holds(capsys, photos, weights):
    main(["diversity", str(photos), "--weights", weights, "--device", "cpu"])
    out = capsys.readouterr().out
    for words in ("random drop", "PTR", "layer 6", "3.3 diversity: ptr > random", "of 15 cases"):
        assert words in out
