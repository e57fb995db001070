"""Accuracy and speed by drop ratio, predictions, and features that do not change."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file

from pcae.cli import main
from pcae.data.crops import WholeImages
from pcae.data.images import open_images
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.trained import Rule
from pcae.weights.files import load, save_model
from tests.conftest import TINY
from tests.runs.test_finetuning import make_shapes

CLASSES = ["dark", "light", "striped"]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("evaluate")
    make_shapes(root / "shapes", 8)
    torch.manual_seed(0)
    encoder = replace(TINY, channels=1, image_size=(32, 48))
    facts = PretrainedFacts(
        encoder=encoder, mean=[0.3], std=[0.3], classes=CLASSES, global_pool="avg", drop_ratios=(0.0, 0.4)
    )
    model = build_model(facts)
    torch.nn.init.normal_(model.encoder.vit.head.weight)
    save_model(root / "classifier.safetensors", model.encoder.vit, facts)
    return {"root": root, "shapes": root / "shapes", "weights": root / "classifier.safetensors"}


def call(capsys, *words) -> str:
    main([str(word) for word in words])
    return capsys.readouterr().out


def test_evaluate_prints_accuracy_cost_and_speed_by_drop_ratio(places, tmp_path, capsys):
    words = ["--weights", places["weights"], "--drop-ratio", "0", "0.2", "0.4", "--rounds", "2", "--batch-size", "4"]
    pictures = ["--out", tmp_path / "curve.png", "--confusion", tmp_path / "confusion.svg"]
    found = json.loads(call(capsys, "evaluate", places["shapes"], *words, *pictures, "--json"))
    rows = found["rows"]
    assert [row["drop_ratio"] for row in rows] == [0, 0.2, 0.4] and rows[0]["images"] == 12
    assert rows[0]["tokens"] == [25] * 6 and rows[2]["tokens"] == [
        25,
        15,
        15,
        15,
        9,
        9,
    ]  # merged ones leave nothing behind
    assert rows[0]["gmacs"] > rows[1]["gmacs"] > rows[2]["gmacs"] > 0
    assert all(row["images_per_second_at_1"] > 0 < row["images_per_second_at_4"] for row in rows)
    assert (tmp_path / "curve.png").stat().st_size > 10_000 and "<svg" in (tmp_path / "confusion.svg").read_text()


def test_another_criterion_drops_other_tokens_at_the_same_cost(places, capsys):
    words = ["--weights", places["weights"], "--drop-ratio", "0.4", "--rounds", "0", "--json"]
    ours, random = (
        json.loads(call(capsys, "evaluate", places["shapes"], *words, "--criterion", name))
        for name in ("mean-similarity", "random")
    )
    assert random["criterion"] == "random" and random["rows"][0]["gmacs"] == ours["rows"][0]["gmacs"]


@pytest.mark.parametrize("criterion", ["mean-similarity", "token-importance", "saliency", "decomposition"])
def test_accuracy_is_the_share_that_an_independent_loop_finds(places, capsys, criterion):
    words = ["--weights", places["weights"], "--drop-ratio", "0.3", "--rounds", "0", "--json", "--criterion", criterion]
    row = json.loads(call(capsys, "evaluate", places["shapes"], *words))["rows"][0]
    model, images = load(places["weights"]), open_images(str(places["shapes"]), "test", 1)
    pixels = WholeImages(images, (32, 48))
    with torch.no_grad():
        logits = [model.classifier(0.3, criterion=criterion)(pixels[index][None])[0] for index in range(len(images))]
    right = [
        CLASSES[int(one.argmax())] == Path(name).parent.name for one, name in zip(logits, images.names, strict=True)
    ]
    assert row["top1"] == pytest.approx(np.mean(right)) and row["top5"] == 1


def test_dropped_tokens_are_pooled_where_asked_and_by_weights_that_were_fine_tuned_so(places, tmp_path, capsys):
    """By evaluate and predict: at a ratio other probabilities, at none the same."""
    model = load(places["weights"])
    save_model(tmp_path / "a.safetensors", model.encoder.vit, replace(model.facts, rule=Rule(fold="pool")))
    asked, tuned = [places["weights"], "--pool-dropped"], [tmp_path / "a.safetensors"]
    for ratio, differs in (("0.4", True), ("0", False)):
        words = [places["shapes"], "--drop-ratio", ratio, "--json", "--weights"]
        plain, one, two = (
            json.loads(call(capsys, "predict", *words, *more)) for more in ([places["weights"]], asked, tuned)
        )
        assert one == two and (one != plain) == differs
    found = [json.loads(call(capsys, "evaluate", *words, *more, "--rounds", "0")) for more in (asked, tuned)]
    assert found[0]["fold"] == "pool" and found[0]["rows"] == found[1]["rows"]
    said = call(capsys, "evaluate", *words[:3], "--weights", *asked, "--rounds", "0")
    assert "dropped tokens pooled" in " ".join(said.split())  # the title is folded


def test_balanced_accuracy_intervals_and_each_class_go_into_the_table_and_json(places, tmp_path, capsys):
    words = ["evaluate", places["shapes"], "--weights", places["weights"], "--drop-ratio", "0", "--rounds", "0"]
    row = json.loads(call(capsys, *words, "--json", "--mistakes", tmp_path / "a.html"))["rows"][0]
    said = json.loads(call(capsys, "predict", places["shapes"] / "val", "--weights", places["weights"], "--json"))
    right = {name: [] for name in CLASSES}
    for line in said:
        right[Path(line["path"]).parent.name].append(line["top"][0]["class"] == Path(line["path"]).parent.name)
    assert row["balanced_accuracy"] == pytest.approx(np.mean([np.mean(some) for some in right.values()]))
    assert {name: one["recall"] for name, one in row["by_class"].items()} == {n: np.mean(r) for n, r in right.items()}
    assert (tmp_path / "a.html").read_text().count("<figure>") == sum(map(len, right.values())) - sum(
        map(sum, right.values())
    )
    out = call(capsys, *words)
    low, high = row["intervals"]["top1"]
    assert f"{row['top1']:.1%}".replace("%", " %") + f" ({100 * low:.1f}\u2013{100 * high:.1f})" in out


def test_only_some_images_count_where_a_file_names_them(places, tmp_path, capsys):
    (tmp_path / "some.txt").write_text("dark/0.png\nlight/1.png\n")
    words = ["--weights", places["weights"], "--drop-ratio", "0", "--rounds", "0", "--json"]
    row = json.loads(call(capsys, "evaluate", places["shapes"], *words, "--only", tmp_path / "some.txt"))["rows"][0]
    assert row["images"] == 2 and set(row["by_class"]) == {"dark", "light"} and row["absent_classes"] == ["striped"]


def test_at_drop_ratio_zero_logits_are_those_of_plain_timm(places):
    model = load(places["weights"])
    plain = timm.create_model(
        TINY.model, img_size=(32, 48), patch_size=8, in_chans=1, embed_dim=24, depth=6, num_heads=2, num_classes=3,
        global_pool="avg",
    ).eval()  # fmt: skip
    plain.load_state_dict(load_file(places["weights"]), strict=True)
    pixels = torch.randint(256, (4, 1, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = plain((pixels / 255 - 0.3) / 0.3)
        torch.testing.assert_close(model.classifier(0.0)(pixels), expected, rtol=1e-5, atol=1e-5)


def test_without_ratios_it_takes_the_dial_and_prints_a_table(places, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = call(capsys, "evaluate", places["shapes"], "--weights", places["weights"], "--rounds", "1")
    assert all(f"│ {ratio}" in out for ratio in ("0 ", "0.1", "0.2", "0.3", "0.4"))
    assert (tmp_path / "accuracy-speed.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "{shapes}", "--drop-ratio", "0.2", "0.2"], "names a ratio twice"),
        (["evaluate", "{shapes}", "--drop-ratio", "1"], "drop_ratio must lie in [0, 1), got 1.0"),
        (["evaluate", "{shapes}", "--drop-ratio", "0.99"], "leaves none"),
        (["evaluate", "{shapes}", "--batch-size", "0"], "batch_size must be at least 1, got 0"),
        (["evaluate", "{shapes}", "--rounds", "-1"], "rounds must be 0 or more, got -1"),
        (["evaluate", "{shapes}", "--confusion", "a.gif"], "must end in .png or .svg or .pdf"),
        (["evaluate", "{shapes}", "--out", "gone/a.png"], "cannot be written"),
        (["evaluate", "{shapes}", "--out", "a.png", "--rounds", "0"], "is a picture of two drop ratios or more"),
        (["evaluate", "{shapes}", "--out", "a.png", "--drop-ratio", "0.1"], "is a picture of two drop ratios or more"),
        (["evaluate", "{shapes}", "--mistakes", "a.png"], "must end in .html"),
        (["evaluate", "{shapes}", "--only", "gone.txt"], "only 'gone.txt' cannot be read"),
        (["predict", "{shapes}", "--threshold", "1"], "threshold must lie in [0, 1), got 1"),
        (["evaluate", "sample"], "has 10 classes and the classifier 3; it does not know"),
        (["evaluate", "{flat}"], "has no labels"),
        (["evaluate", "{shapes}", "--image-size", "30", "48"], "must be a positive multiple of the patch size (8, 8)"),
        (["predict", "{shapes}", "--top", "0"], "top must be at least 1, got 0"),
        (["predict", "{shapes}", "--out", "a.csv"], "must end in .jsonl"),
        (["predict", "{flat}/torn.png"], "1 of 1 images cannot be read"),
        (["embed", "{shapes}", "--out", "a.npy", "--batch-size", "0"], "batch_size must be at least 1"),
        (["embed", "{shapes}", "--out", "a.npy", "--tokens", "--pool", "cls"], "tokens are not pooled"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(places, tmp_path, capsys, monkeypatch, words, message):
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "torn.png").write_bytes(b"torn")
    monkeypatch.chdir(tmp_path)
    filled = [word.format(shapes=places["shapes"], flat=tmp_path / "flat") for word in words]
    with pytest.raises(SystemExit) as stop:
        main([*filled, "--weights", str(places["weights"])])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and message in err and err.count("pcae: ") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"flat"}


def test_an_encoder_is_no_classifier(places, tmp_path, capsys):
    facts = replace(load(places["weights"]).facts, classes=None, global_pool="")
    save_model(tmp_path / "encoder.safetensors", build_model(facts).encoder.vit, facts)
    for verb in ("evaluate", "predict"):
        with pytest.raises(SystemExit):
            main([verb, str(places["shapes"]), "--weights", str(tmp_path / "encoder.safetensors")])
        assert "encoder without a classifier; fine-tune it first" in capsys.readouterr().err


def test_predictions_are_lines_of_json_in_order(places, tmp_path, capsys):
    lines = call(capsys, "predict", places["shapes"], "--weights", places["weights"], "--batch-size", "5").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows) and len(rows) == 12
    for row in rows:
        chances = [top["probability"] for top in row["top"]]
        assert sum(chances) == pytest.approx(1, abs=1e-5) and chances == sorted(chances, reverse=True)
        assert {top["class"] for top in row["top"]} == set(CLASSES)
    call(capsys, "predict", places["shapes"], "--weights", places["weights"], "--out", tmp_path / "a.jsonl")
    written = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["top"][0]["class"] for row in written] == [row["top"][0]["class"] for row in rows]
    whole = json.loads(call(capsys, "predict", places["shapes"], "--weights", places["weights"], "--json"))
    assert whole == written


def test_one_image_and_one_that_cannot_be_read(places, tmp_path, capsys):
    image = next((places["shapes"] / "val" / "light").iterdir())
    row = json.loads(call(capsys, "predict", image, "--weights", places["weights"], "--top", "1"))
    assert row["path"] == str(image) and len(row["top"]) == 1
    for name in ("a", "b"):
        Image.open(image).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"torn")
    words = ["predict", tmp_path, "--weights", places["weights"], "--max-bad-files", "0.5"]
    rows = [json.loads(line) for line in call(capsys, *words).splitlines()]
    assert [("error" in row) for row in rows] == [False, False, True]


@pytest.mark.parametrize("more", [[], ["--tokens"], ["--pool", "cls"]])
@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_embedding_twice_gives_identical_bytes_and_any_batch_size_the_same(places, tmp_path, capsys, suffix, more):
    files = [tmp_path / f"{name}.{suffix}" for name in ("a", "b", "c")]
    for path, size in zip(files, ("5", "5", "3"), strict=True):
        words = ["--weights", places["weights"], "--out", path, "--batch-size", size]
        call(capsys, "embed", places["shapes"], *words, *more)
    assert files[0].read_bytes() == files[1].read_bytes()
    one, other = (read_rows(path) for path in (files[0], files[2]))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert one.shape == ((24, 24, 24) if more == ["--tokens"] else (24, 24))


def read_rows(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    return np.array([np.array(list(row)) for row in parquet.read_table(path)["embedding"].to_pylist()], np.float32)


def test_a_classifiers_embedding_is_what_its_head_sees(places, tmp_path, capsys):
    call(capsys, "embed", places["shapes"], "--weights", places["weights"], "--out", tmp_path / "a.npy")
    model, images = load(places["weights"]), open_images(str(places["shapes"]), "train", 1)
    pixels = torch.stack([WholeImages(images, (32, 48))[index] for index in range(len(images))])
    with torch.no_grad():
        vit = model.encoder.vit
        expected = vit.forward_head(vit.forward_features(model.normalise(pixels)), pre_logits=True)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected.numpy(), rtol=0, atol=1e-5)


def test_rows_that_cannot_be_read_are_left_out_of_a_npy_file(places, tmp_path, capsys):
    image = next((places["shapes"] / "val" / "light").iterdir())
    (tmp_path / "photos").mkdir()
    for name in "abd":
        Image.open(image).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "c.png").write_bytes(b"torn")
    words = ["--weights", places["weights"], "--out", tmp_path / "a.npy", "--max-bad-files", "0.5", "--batch-size", "2"]
    call(capsys, "embed", tmp_path / "photos", *words)
    names = [Path(name).name for name in json.loads((tmp_path / "a.files.json").read_text())]
    assert np.load(tmp_path / "a.npy").shape == (3, 24) and names == ["a.png", "b.png", "d.png"]
