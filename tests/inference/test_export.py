import json
import sys

import onnxruntime
import pytest
import torch
from PIL import Image

from pcae.cli import main
from pcae.model.pretrained import build_decoder
from pcae.weights.decoders import DECODER_FILE, save_decoder
from pcae.weights.files import FILE, find, load, save_model
from tests.weights.exported import decoder_of, model_of, npm_package


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    status = 0
    try:
        main(["export", *words])
    except SystemExit as stop:
        status = int(stop.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    """A classifier that was fine-tuned at 30 %, one on average pooling, an encoder for 1 and one for 5 channels."""
    root = tmp_path_factory.mktemp("weights")
    models = {
        "tuned": model_of(classes=["a", "b", "c"], drop_ratios=(0.3, 0.3)),
        "average": model_of(classes=["a", "b", "c"], global_pool="avg"),
        "gray": model_of(channels=1),
        "five": model_of(channels=5),
    }
    for name, model in models.items():
        save_model(root / f"{name}.safetensors", model.encoder.vit, model.facts)
    return {name: str(root / f"{name}.safetensors") for name in models}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("photos")
    for index in range(70):
        Image.effect_noise((60, 40), 30 + index).convert("RGB").save(folder / f"{index:02d}.png")
    return str(folder)


@pytest.mark.slow
def test_onnx_takes_the_ratio_of_the_fine_tuning_and_is_checked_on_64_images(capsys, tmp_path, weights, photos):
    out = tmp_path / "a.onnx"
    status, said, err = call(
        capsys, "--weights", weights["tuned"], "--to", "onnx", "--out", str(out), "--data", photos, "--json"
    )
    result = json.loads(said)
    assert status == 0 and result["drop_ratio"] == 0.3 and result["classes"] == ["a", "b", "c"]
    check = result["check"]
    assert check["holds"] and check["images"] == 64 == check["same_kept"] + check["ties"] and check["different"] == 0
    assert check["max_difference"] <= check["tolerance"] == 1e-4
    assert [line for line in err.splitlines() if line.strip()] == [
        f"weights: {weights['tuned']}", "  44 of 44 tensors matched, 100.0% of the encoder",
    ]  # fmt: skip
    names = [output.name for output in onnxruntime.InferenceSession(str(out)).get_outputs()]
    assert names == ["logits", "kept_ids_0", "kept_ids_1", "kept_ids_2"]


@pytest.mark.slow
def test_a_page_is_a_folder_with_all_that_it_runs_on(capsys, tmp_path, weights, photos):
    """At five drop ratios, an image of the check once at each; `--check` finds it again."""
    out, npm = tmp_path / "page", str(npm_package(tmp_path / "npm"))
    words = ["--weights", weights["tuned"], "--to", "web", "--out", str(out), "--onnxruntime-web", npm]
    status, said, _ = call(capsys, *words, "--data", photos)
    assert status == 0 and "drop ratio 0, 0.1, 0.2, 0.3, 0.4" in " ".join(said.split()) and "320 of 320" in said
    assert f"python -m http.server -d {out}" in "".join(said.split("\n"))
    graphs = {f"drop-{ratio}.onnx" for ratio in ("0", "0.1", "0.2", "0.3", "0.4")}
    page = {
        "index.html",
        "page.mjs",
        "pixels.mjs",
        "worker.mjs",
        "ort.wasm.bundle.min.mjs",
        "ort-wasm-simd-threaded.wasm",
    }
    assert {path.name for path in out.iterdir()} == graphs | page | {"model.json", "weights.bin"}
    assert json.loads((out / "model.json").read_text())["start"] == 0.3
    status, said, _ = call(capsys, "--weights", weights["tuned"], "--check", str(out), "--data", photos, "--json")
    check = json.loads(said)
    assert status == 0 and check["to"] == "web" and check["check"]["images"] == 320 and check["check"]["holds"]
    assert check["compared_at"] == [0.0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("kind", ["average", "gray"])
@pytest.mark.parametrize("ratio", ["0", pytest.param("0.3", marks=pytest.mark.slow)])
def test_a_graph_pools_dropped_tokens_at_any_ratio(capsys, tmp_path, weights, photos, kind, ratio):
    """A classifier's, and an encoder's for its features; as an ONNX file: test_export_graphs."""
    words = ["--weights", weights[kind], "--to", "torch-export", "--data", photos, "--pool-dropped", "--json"]
    status, said, _ = call(capsys, *words, "--drop-ratio", ratio, "--out", str(tmp_path / "a.pt2"))
    result = json.loads(said)
    assert status == 0 and result["check"]["holds"] and result["rule"]["fold"] == "pool"


@pytest.mark.slow
def test_without_data_the_built_in_images_check_and_a_table_says_so(capsys, tmp_path, weights):
    out = tmp_path / "a.pt2"
    words = ["--weights", weights["gray"], "--to", "torch-export", "--out", str(out), "--drop-ratio", "0.2"]
    status, said, _ = call(capsys, *words)
    shown = " ".join(said.split())  # the title is folded where the folder's name is long
    assert status == 0 and "at drop ratio 0.2" in shown and "64 of 64" in shown
    assert "largest difference of the features" in said and torch.export.load(out)


@pytest.mark.parametrize("to", ["timm", "hf"])
def test_what_computes_every_token_says_so_to_who_fine_tuned_with_less(capsys, tmp_path, weights, photos, to):
    words = ["--weights", weights["tuned"], "--to", to, "--out", str(tmp_path / "a"), "--data", photos]
    status, said, err = call(capsys, *words)
    assert status == 0 and f"{to} computes every token; the weights were fine-tuned at drop ratio 0.3" in err
    assert "largest difference of the logits" in said and "tokens" not in said


def test_other_peoples_weights_and_another_size_become_ours(capsys, tmp_path, weights, photos):
    call(capsys, "--weights", weights["tuned"], "--to", "hf", "--out", str(tmp_path / "hf"), "--data", photos)
    words = ["--weights", str(tmp_path / "hf"), "--to", "safetensors", "--out", str(tmp_path / "a.safetensors")]
    status, _, _ = call(capsys, *words, "--image-size", "40", "24")
    assert status == 0 and load(tmp_path / "a.safetensors").facts.encoder.image_size == (40, 24)


@pytest.fixture
def run(tmp_path) -> str:
    """A run folder of MAE's: an encoder for square images, and its decoder."""
    model = model_of(image_size=(32, 32))
    (tmp_path / "run").mkdir()
    save_model(tmp_path / "run" / FILE, model.encoder.vit, model.facts)
    decoder = build_decoder(decoder_of(model), model.encoder.grid)
    save_decoder(tmp_path / "run" / DECODER_FILE, decoder, decoder_of(model).facts.decoder, "pixels", True)
    return str(tmp_path / "run")


@pytest.mark.parametrize(("to", "output"), [("vitmae", "features and predictions"), ("mae", "features")])
def test_a_run_folders_decoder_is_exported_with_its_encoder(capsys, tmp_path, run, photos, to, output):
    out = tmp_path / ("a" if to == "vitmae" else "a.pth")
    words = ["--weights", run, "--to", to, "--out", str(out), "--data", photos]
    status, said, err = call(capsys, *words, "--json")
    result = json.loads(said)
    assert status == 0 and result["output"] == output and result["check"]["holds"]
    decoder = find(out).decoder
    assert decoder is not None and decoder.facts == find(run).decoder.facts
    assert ("heads of the encoder: the weights are for 2, MAE's code takes 1" in err) == (to == "mae")


def test_a_classifier_that_drops_tokens_does_not_do_so_in_maes_code(capsys, tmp_path, photos):
    model = model_of(classes=["a", "b"], image_size=(32, 32), drop_ratios=(0.3, 0.3))
    save_model(tmp_path / "a.safetensors", model.encoder.vit, model.facts)
    words = ["--weights", str(tmp_path / "a.safetensors"), "--to", "mae", "--out", str(tmp_path / "a.pth")]
    status, said, err = call(capsys, *words, "--data", photos)
    assert status == 0 and "mae computes every token; the weights were fine-tuned at drop ratio 0.3" in err
    assert "largest difference of the logits" in said


def test_a_file_is_replaced_and_images_that_cannot_be_read_are_named(capsys, tmp_path, weights):
    (tmp_path / "photos").mkdir()
    for index in range(30):
        Image.effect_noise((60, 40), 30 + index).convert("RGB").save(tmp_path / "photos" / f"{index:02d}.png")
    (tmp_path / "photos" / "torn.png").write_bytes(b"torn")
    (tmp_path / "a.safetensors").write_bytes(b"old")
    words = ["--weights", weights["tuned"], "--to", "safetensors", "--out", str(tmp_path / "a.safetensors")]
    status, said, err = call(capsys, *words, "--data", str(tmp_path / "photos"), "--json")
    assert status == 0 and json.loads(said)["check"]["images"] == 30 and "torn.png" in err
    assert load(tmp_path / "a.safetensors").facts.classes == ["a", "b", "c"]


TUNED = ["--weights", "{tuned}"]
WRONG = [
    (
        [*TUNED, "--to", "tflite", "--out", "{tmp}/a"],
        "--to takes one of onnx, torch-export, timm, hf, vitmae, mae, pcae-code, safetensors, web",
    ),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/a.pt2"], "must end in .onnx"),
    ([*TUNED, "--to", "torch-export", "--out", "{tmp}/a"], "must end in .pt2"),
    ([*TUNED, "--to", "safetensors", "--out", "{tmp}/a.onnx"], "must end in .safetensors"),
    ([*TUNED, "--to", "mae", "--out", "{tmp}/a.safetensors"], "must end in .pth"),
    ([*TUNED, "--to", "pcae-code", "--out", "{tmp}/a"], "must end in .pth"),
    ([*TUNED, "--to", "mae", "--out", "{tmp}/a.pth", "--drop-ratio", "0.3"], "cannot be stored for --to mae"),
    ([*TUNED, "--to", "mae", "--out", "{tmp}/a.pth"], "a grid of 4 x 6 patches, which is no square"),
    ([*TUNED, "--to", "vitmae", "--out", "{tmp}/a"], "needs a decoder that predicts pixels"),
    (["--weights", "{gray}", "--to", "pcae-code", "--out", "{tmp}/a.pth"], "MAE's code cannot hold a grid of 4 x 6"),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/gone/a.onnx"], "cannot be written: there is no folder"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/gone/a"], "cannot be written: there is no folder"),
    ([*TUNED, "--to", "timm", "--out", "{photos}"], "is a folder that is not empty"),
    ([*TUNED, "--to", "hf", "--out", "{tuned}"], "is a file; give a folder"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/a", "--drop-ratio", "0.3"], "cannot be stored for --to timm"),
    ([*TUNED, "--to", "hf", "--out", "{tmp}/a", "--drop-ratio", "0.3"], "use --to onnx or torch-export"),
    ([*TUNED, "--to", "safetensors", "--out", "{tmp}/a.safetensors", "--drop-ratio", "0.3"], "cannot be stored"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/a", "--pool-dropped"], "pool_dropped is not for --to timm"),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/a.onnx", "--pool-dropped"], "this one has pooling 'token'"),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/a.onnx", "--drop-ratio", "1"], "drop_ratio must lie in [0, 1), got 1"),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/a.onnx", "--drop-ratio", "nan"], "drop_ratio must lie in [0, 1)"),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/a.onnx", "--drop-ratio", "0.99"], "leaves none"),
    ([*TUNED, "--to", "onnx", "--out", "{tmp}/a.onnx", "--image-size", "30", "48"], "must be a positive multiple"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/a", "--device", "cuda"], "device 'cuda' is not for exporting"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/a", "--data", "{tmp}/gone"], "neither a folder"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/a", "--data", "{torn}"], "1 of 1 images cannot be read"),
    (["--weights", "{tmp}/gone", "--to", "timm", "--out", "{tmp}/a"], "neither a run folder"),
    (["--weights", "{average}", "--to", "hf", "--out", "{tmp}/a"], "cannot hold average pooling with its own norm"),
    (["--weights", "{five}", "--to", "timm", "--out", "{tmp}/a"], "takes 5 channels, which the built-in images lack"),
    ([*TUNED, "--to", "timm"], "--out"),
    ([*TUNED, "--to", "web", "--out", "{tmp}/a"], "npm pack onnxruntime-web@1.30.0"),
    ([*TUNED, "--to", "web", "--out", "{tmp}/a", "--onnxruntime-web", "{tmp}/gone"], "is not there; get it: npm pack"),
    ([*TUNED, "--to", "web", "--out", "{photos}", "--onnxruntime-web", "{npm}"], "is a folder that is not empty"),
    ([*TUNED, "--to", "timm", "--out", "{tmp}/a", "--onnxruntime-web", "{npm}"], "is for --to web, not for --to timm"),
    (["--weights", "{gray}", "--to", "web", "--out", "{tmp}/a", "--onnxruntime-web", "{npm}"], "without a classifier"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_input_is_one_line_exit_2_and_leaves_nothing(capsys, tmp_path, weights, photos, words, message):
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "a.jpg").write_bytes(b"torn")
    npm = str(npm_package(tmp_path / "npm"))
    places = {"tmp": str(tmp_path / "out"), "photos": photos, "torn": str(torn), "npm": npm, **weights}
    (tmp_path / "out").mkdir()
    status, said, err = call(capsys, *(word.format(**places) for word in words))
    lines = err.strip().splitlines()
    assert (status, said) == (2, "") and lines[-1].startswith("pcae: ") and message in lines[-1]
    assert not [*(tmp_path / "out").iterdir()]


@pytest.mark.parametrize(
    ("to", "package"), [("onnx", "onnx"), ("onnx", "onnxscript"), ("onnx", "onnxruntime"), ("hf", "transformers")]
)
def test_a_package_that_is_not_there_is_named_before_anything_is_written(
    capsys, tmp_path, monkeypatch, weights, to, package
):
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / ("a.onnx" if to == "onnx" else "a")
    status, _, err = call(capsys, "--weights", weights["tuned"], "--to", to, "--out", str(out))
    assert status == 2 and err == (
        f"pcae: --to {to} writes and checks by {package}, not installed: "
        f"pip install {'transformers' if to == 'hf' else 'onnx onnxscript onnxruntime'}\n"
    )
    assert not [*tmp_path.iterdir()]
