"""Pictures and a page of what a model keeps: the right patches, safe names, nothing half written."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.cli import main
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.pages.kept_maps import file_names
from pcae.pictures.heat import BLANK
from pcae.settings.trained import Rule
from pcae.weights.files import save_model
from tests.browser import DESKTOP, PHONE, opened
from tests.conftest import TINY
from tests.photographs import TORN, make_folder
from tests.pictures.test_pictures import check_patches, panels_in
from tests.runs.test_finetuning import PRETRAIN

PATCHES = 24
"""Of an image of 32 x 48."""


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    """Photographs of every kind, an encoder and a classifier."""
    root = tmp_path_factory.mktemp("show")
    make_folder(root / "photos", 16)
    torch.manual_seed(0)
    facts = PretrainedFacts(encoder=TINY, mean=[0.5] * 3, std=[0.25] * 3)
    save_model(root / "encoder.safetensors", build_encoder(TINY).vit, facts)
    fine = replace(facts, classes=["a", "b"], global_pool="avg", drop_ratios=(0.0, 0.3), rule=Rule())
    save_model(root / "classifier.safetensors", build_model(fine).encoder.vit, fine)
    return {name: root / name for name in ("photos", "encoder.safetensors", "classifier.safetensors")}


def show(capsys, places, out: Path, *words: str, weights: str = "encoder.safetensors") -> dict:
    said = ["show", str(places["photos"]), "--weights", str(places[weights]), "--out", str(out), "--device", "cpu"]
    main([*said, "--json", *words])
    return json.loads(capsys.readouterr().out)


def test_everything_is_written_and_told(places, tmp_path, capsys):
    found = show(capsys, places, tmp_path / "out", "--most-images", "2", weights="classifier.safetensors")
    sheets = {f"sheet-{mode}{suffix}" for mode in ("masked", "whole", "classifier") for suffix in (".png", ".svg")}
    pictures = {Path(path).name for image in found["images"] for path in image["pictures"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == sheets | pictures | {"index.html"}
    assert len(pictures) == 4 and found["grid"] == [4, 6] and len(found["explained"]) == 3
    assert any("the encoder itself" in line for line in found["sources"])
    kept = found["images"][0]["kept"]
    assert [len(stage["kept_ids"]) for stage in kept["masked"]["stages"]] == [9, 4, 2]
    assert len(kept["masked"]["shown_ids"]) == 18 and kept["whole"]["shown_ids"] == list(range(PATCHES))
    assert kept["classifier"]["drop_ratio"] == 0.3
    assert [(stage["block"], len(stage["kept_ids"])) for stage in kept["classifier"]["stages"]] == [
        (0, 16),
        (3, 11),
        (5, 7),
    ]


@pytest.mark.parametrize(
    ("size", "grid"), [((32, 48), (4, 6)), ((112, 112), (14, 14)), ((56, 56), (7, 7)), ((64, 96), (8, 12))]
)
def test_the_files_blank_exactly_what_was_dropped(places, tmp_path, capsys, size, grid):
    words = ["--most-images", "1", "--image-size", *map(str, size), "--modes", "masked"]
    found = show(capsys, places, tmp_path / "out", *words)["images"][0]
    panels = panels_in(Path(found["pictures"][1]).read_text())
    image = torch.from_numpy(panels[0].copy()).permute(2, 0, 1)
    assert not (panels[0] == np.array(BLANK)).all(axis=-1).any()
    kept = found["kept"]["masked"]
    for panel, ids in zip(
        panels[1:], [kept["shown_ids"], *(stage["kept_ids"] for stage in kept["stages"])], strict=False
    ):
        check_patches(panel, image, set(ids), grid)


@pytest.mark.slow
def test_settings_and_teacher_are_the_runs_own(places, tmp_path, capsys):
    words = ["--keep-ratio", "0.6", "--stages", "2", "--seed", "3", "--mask-ratio", "0.6"]
    main(["pretrain", "sample", "--out", str(tmp_path / "run"), *PRETRAIN, *words])
    main(
        [
            "show",
            "sample",
            "--weights",
            str(tmp_path / "run"),
            "--out",
            str(tmp_path / "a"),
            "--most-images",
            "1",
            "--json",
        ]
    )
    found = json.loads(capsys.readouterr().out)
    kept = found["images"][0]["kept"]["masked"]
    assert any("moving-average teacher" in line for line in found["sources"])
    assert len(kept["shown_ids"]) == 30 and [len(stage["kept_ids"]) for stage in kept["stages"]] == [18, 10]


@pytest.mark.slow
def test_the_same_seed_shows_the_same(places, tmp_path, capsys):
    words = ["--most-images", "1", "--modes", "masked"]
    first, again, other = (
        [image["kept"] for image in show(capsys, places, tmp_path / name, *words, "--seed", seed)["images"]]
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    assert first == again != other


@pytest.mark.slow
def test_unreadable_images_are_left_out_and_named(places, tmp_path, capsys):
    make_folder(tmp_path / "photos", 3)
    (tmp_path / "photos" / "a torn.jpg").write_bytes(TORN)
    bad = places | {"photos": tmp_path / "photos"}
    main(["show", str(bad["photos"]), "--weights", str(bad["encoder.safetensors"]), "--out", str(tmp_path / "out"),
          "--modes", "whole", "--max-bad-files", "0.5", "--json"])  # fmt: skip
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [Path(name).name for name in found["bad_files"]] == ["a torn.jpg"] and len(found["images"]) == 3
    assert "they were left out" in said.err and "a torn.jpg" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--most-images", "0"], "most_images must lie in [1, 200], got 0"),
        (["--keep-ratio", "0"], "keep (keep_ratio) must lie in (0, 1], got 0"),
        (["--keep-ratio", "1.5"], "keep (keep_ratio) must lie in (0, 1], got 1.5"),
        (["--keep-ratio", "1"], "nothing to show"),
        (["--keep-ratio", "0.1"], "leaves none"),
        (["--stages", "0"], "nothing to show"),
        (["--stages", "7"], "stages must lie in [0, 6]"),
        (["--stages-after", "0", "9"], "blocks [9] are named"),
        (["--mask-ratio", "1"], "mask_ratio must lie in (0, 1)"),
        (["--mask-ratio", "0"], "leave some of 24 tokens visible and some hidden"),
        (["--modes", "classifier"], "mode classifier is for a fine-tuned model"),
        (["--modes", "whole", "whole"], "none twice, got whole whole"),
        (["--modes", "whole", "--mask-ratio", "0.5"], "mask_ratio 0.5 is for mode masked"),
        (["--drop-ratio", "0.3"], "drop_ratio 0.3 is for mode classifier"),
        (["--image-size", "30", "48"], "must be a positive multiple"),
        (["--seed", "-1"], "seed must lie in [0, 2^63), got -1"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(places, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit):
        show(capsys, places, tmp_path / "out", *words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pcae: ")]
    assert len(lines) == 1 and message in lines[0] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--drop-ratio", "0"], "nothing to show"),
        (["--drop-ratio", "1"], "drop_ratio must lie in [0, 1), got 1.0"),
        (["--drop-ratio", "0.9"], "tokens leaves none"),
        (["--modes", "classifier", "--keep-ratio", "0.5"], "keep_ratio 0.5 is for mode masked or whole"),
    ],
)
def test_a_classifiers_ratio_is_checked(places, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit):
        show(capsys, places, tmp_path / "out", *words, weights="classifier.safetensors")
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_fails_on_the_way_leaves_nothing(places, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise ValueError("disk full")

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("stays")
    monkeypatch.setattr("pcae.inference.show.write_page", fail)
    with pytest.raises(SystemExit):
        show(capsys, places, tmp_path / "out", "--most-images", "1")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_names_are_safe_and_none_is_there_twice():
    names = [
        "a/b.png",
        "a-b.jpg",
        "A/B.gif",
        "../x.png",
        "index.html",
        "sheet-whole.png",
        "ü.png",
        "x" * 300 + ".png",
        "no suffix",
        "$x_1$.png",
    ]
    made = file_names(names)
    assert len({name.lower() for name in made} | {"index"}) == len(names) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,90}", name) and not name.lower().startswith("sheet-") for name in made)
    assert made[0] == "a-b" and made[1] == "a-b-2" and made[2] == "A-B-3"


def test_names_stand_in_the_page_as_text(tmp_path, places, capsys):
    (tmp_path / "photos").mkdir()
    Image.effect_noise((60, 40), 60).save(tmp_path / "photos" / "<script>alert(1)<!--&.png")
    show(capsys, places | {"photos": tmp_path / "photos"}, tmp_path / "out", "--modes", "whole")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;!--&amp;" in page
    assert not re.search(r'(src|href)="?(https?:|//)', page) and "<noscript>" in page


CANVASES = "[...document.querySelectorAll('canvas')].map(canvas => canvas.toDataURL())"


def blank_patches(page, index: int, grid: tuple[int, int]) -> set[int]:
    """Positions whose every pixel on a canvas has the colour of what is not there."""
    stored = base64.b64decode(page.evaluate(CANVASES)[index].partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"))
    height, width = pixels.shape[:2]
    blocks = pixels.reshape(grid[0], height // grid[0], grid[1], width // grid[1], 3)
    blank = (blocks == np.array(BLANK)).all(axis=(1, 3, 4))
    assert ((blocks == np.array(BLANK)).all(axis=-1).any(axis=(1, 3)) == blank).all()  # no patch is blank in part
    return set(np.flatnonzero(blank).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("screen", [DESKTOP, PHONE])
def test_the_page_moves_through_stages_and_ratios_offline(places, tmp_path, capsys, screen):
    found = show(capsys, places, tmp_path / "out", "--most-images", "3", weights="classifier.safetensors")
    everything = set(range(PATCHES))
    with opened(tmp_path / "out" / "index.html", screen) as page:
        page.wait_for_selector("body[data-ready]")
        assert page.evaluate("document.documentElement.scrollWidth") <= screen[0]
        for mode in ("masked", "whole", "classifier"):
            page.select_option("#mode", mode)
            for index, image in enumerate(found["images"]):
                kept = image["kept"][mode]
                left = [list(everything)] + ([kept["shown_ids"]] if mode == "masked" else [])
                for place, ids in enumerate([*left, *(stage["kept_ids"] for stage in kept["stages"])]):
                    page.fill("#stage", str(place))
                    assert blank_patches(page, index, (4, 6)) == everything - set(ids), (mode, place)
                    assert f"{len(ids)} of 24 patches left" in page.inner_text("#left")
        seen = {tuple(page.evaluate(CANVASES))}
        for ratio in range(int(page.get_attribute("#ratio", "max") or 0) + 1):
            page.fill("#ratio", str(ratio))
            seen.add(tuple(page.evaluate(CANVASES)))
        assert len(seen) == int(page.get_attribute("#ratio", "max") or 0) + 1 > 5
        for view in ("scores", "features"):
            page.select_option("#view", view)
            seen.add(tuple(page.evaluate(CANVASES)))
            assert page.evaluate("document.documentElement.scrollWidth") <= screen[0]
        assert len(seen) > 8
        page.focus("#stage")
        before = page.inner_text("#stage-said")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#stage-said") != before
        unlabelled = "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length"
        assert page.evaluate(unlabelled) == 0
