"""check-data finds every fault that was planted, and nothing else."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageEnhance
from skimage import data

from pcae.cli import main
from pcae.data.batches import pixel_statistics
from pcae.data.duplicates import closest_before, directions, near_duplicates
from pcae.data.images import open_images
from pcae.data.survey import Facts, look
from pcae.data.unreadable import BadFiles
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.recipes import recipe_names
from pcae.settings.verbs.pretrain import PretrainConfig as Run
from pcae.weights.files import save_model
from tests.conftest import TINY
from tests.photographs import TORN, photographs


def crops(count: int) -> list[Image.Image]:
    """Different pieces of real photographs."""
    sources = [*photographs(), *(Image.fromarray(pixels).convert("RGB") for pixels in (data.camera(), data.moon()))]
    pieces = []
    for index in range(count):
        image = sources[index % len(sources)]
        left = (index // len(sources)) * 97 % max(1, image.width - 240)
        top = (index // len(sources)) * 61 % max(1, image.height - 200)
        pieces.append(image.crop((left, top, left + 240, top + 200)))
    return pieces


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """20 training and 6 validation photographs of two classes, and one or more faults of each kind beside them."""
    root = tmp_path_factory.mktemp("planted") / "data"
    pieces = crops(26)
    for index, piece in enumerate(pieces):
        folder = root / ("train" if index < 20 else "val") / ("one" if index % 2 else "two")
        folder.mkdir(parents=True, exist_ok=True)
        piece.save(folder / f"{index:02d}.png")
    one, two, val = root / "train" / "one", root / "train" / "two", root / "val" / "one"
    shutil.copy(one / "01.png", one / "copy of 01.png")
    shutil.copy(two / "02.png", val / "leaked.png")
    pieces[3].save(one / "smaller.jpg", quality=60)
    pieces[4].resize((120, 100)).save(two / "resized.webp")
    ImageEnhance.Brightness(pieces[6]).enhance(1.1).save(two / "brighter.bmp")
    pieces[8].resize((90, 75), Image.Resampling.LANCZOS).save(val / "leaked in small.jpg")
    pieces[10].save(one / "other label.jpg", quality=90)
    Image.new("RGB", (64, 64), (9, 9, 9)).save(one / "blank.png")
    (one / "torn.jpg").write_bytes(TORN)
    (two / "empty.png").write_bytes(b"")
    Image.fromarray(np.asarray(pieces[12].convert("L"), np.uint16) * 16).save(two / "12 bits.png")
    (root / "train" / "notes.txt").write_text("no image")
    return root


def groups(report: dict, fault: str) -> set[frozenset[str]]:
    return {frozenset(Path(one["file"]).name for one in group) for group in report["faults"][fault]["groups"]}


@pytest.fixture(scope="module")
def report(planted, tmp_path_factory):
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(["check-data", str(planted), "--json", "--workers", "0", "--device", "cpu"])
    return json.loads(out.getvalue())


def test_every_planted_fault_is_found_and_nothing_else(report):
    assert groups(report, "unreadable") == {frozenset({"torn.jpg"}), frozenset({"empty.png"})}
    assert groups(report, "exact_duplicates") == {
        frozenset({"01.png", "copy of 01.png"}),
        frozenset({"02.png", "leaked.png"}),
    }
    assert groups(report, "near_duplicates") == {
        frozenset({"03.png", "smaller.jpg"}),
        frozenset({"04.png", "resized.webp"}),
        frozenset({"06.png", "brighter.bmp"}),
        frozenset({"08.png", "leaked in small.jpg"}),
        frozenset({"10.png", "other label.jpg"}),
        frozenset({"12.png", "12 bits.png"}),
    }
    leaked = {frozenset({"02.png", "leaked.png"}), frozenset({"08.png", "leaked in small.jpg"})}
    assert groups(report, "leaks") == leaked
    assert groups(report, "label_conflicts") == leaked | {frozenset({"10.png", "other label.jpg"})}
    assert groups(report, "blank") == {frozenset({"blank.png"})}
    assert set(report["faults"]) == {
        "unreadable", "exact_duplicates", "near_duplicates", "leaks", "label_conflicts", "blank",
    }  # fmt: skip
    reasons = {one["reason"] for group in report["faults"]["unreadable"]["groups"] for one in group}
    assert len(reasons) == 2 and all(reasons)


def test_what_is_there_is_counted(report):
    assert report["images"] == {"train": 29, "validation": 8}
    assert report["formats"]["PNG"] == 30 and report["pixels"]["uint16 x 1"] == 1 and report["formats"]["unknown"] == 2
    assert report["sides"]["width"] == {"least": 64, "median": 240, "most": 240}
    assert sum(report["labels"]["train"].values()) == 29 and set(report["labels"]["validation"]) == {"one", "two"}
    remarks = "\n".join(report["remarks"])
    assert "1 images of 16 bits reach only to" in remarks and "--pixel-range 0 4095" in remarks
    assert "train: files left out, not being images: 1 .txt" in remarks and "train: 7% cannot be read" in remarks
    assert report["suggestion"]["recipe"] == "vit-ti-64" and "--recipe vit-ti-64" in report["suggestion"]["command"]


def test_mean_and_std_are_those_of_the_pixels(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)
    for index, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    main(["check-data", str(tmp_path), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["mean"] == pytest.approx((noise / 255).mean((0, 1, 2)).tolist())
    assert report["std"] == pytest.approx((noise / 255).std((0, 1, 2)).tolist())


def test_processes_change_nothing(planted, report, capsys):
    main(["check-data", str(planted), "--json", "--workers", "2", "--device", "cpu"])
    assert json.loads(capsys.readouterr().out) == report


def test_the_terminal_names_the_worst_of_it(planted, capsys):
    main(["check-data", str(planted), "--device", "cpu"])
    out = capsys.readouterr().out
    for words in (
        "29 train + 8 validation images",
        "torn.jpg'",
        "copy of 01.png'",
        "1 images of one colour",
        "vit-ti-64",
    ):
        assert words in out


def test_other_data_can_be_held_against(planted, capsys):
    main(["check-data", str(planted / "train"), "--validation", str(planted / "val"), "--json", "--device", "cpu"])
    assert len(json.loads(capsys.readouterr().out)["faults"]["leaks"]["groups"]) == 2


class Page(HTMLParser):
    """What a browser would see: tags that are closed, pictures, text."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.pictures, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        elif tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_alone_and_escapes_names(planted, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(planted / "train", folder / "train")
    shutil.copy(
        folder / "train" / "one" / "01.png",
        folder / "train" / "one" / "<script>alert(1)<∕script>.png".replace("/", "∕"),
    )
    shutil.copy(folder / "train" / "one" / "03.png", str(folder / "train" / "one") + "/bad\udcff[red].png")
    main(["check-data", str(folder), "--out", str(tmp_path / "page.html"), "--device", "cpu"])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and "<script>" not in text and "<script>" in page.text and "bad\\udcff[red]" in page.text
    assert len(page.pictures) > 20 and all(source.startswith("data:image/jpeg;base64,") for source in page.pictures)
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["page.html"]


def test_a_folder_of_nothing_but_torn_files_is_told_too(tmp_path, capsys):
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(TORN + bytes([index]))
    main(["check-data", str(tmp_path), "--out", str(tmp_path / "page.html")])
    assert "3 images that cannot be read" in capsys.readouterr().out


def test_bands_and_floats_are_told(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((30, 40, 5), np.uint16), planarconfig="contig", photometric="minisblack"
    )
    tifffile.imwrite(tmp_path / "b.tif", np.array([[-2.0, 7.0]], np.float32))
    images = open_images(str(tmp_path))
    bands, floats = look(images, 0), look(images, 1)
    assert (bands.format, bands.kind, bands.size) == ("TIFF", "uint16 x 5", (40, 30))
    assert bands.error == "it has 5 channels, not 3; see --channels and --bands"
    assert floats.values == (-2.0, 7.0) and "--pixel-range" in str(floats.error)


def test_closest_before_equals_all_pairs():
    noise = np.random.default_rng(0).integers(0, 256, (50, 16, 16)).astype(np.uint8)
    import torch

    held = []

    def few(some: torch.Tensor) -> torch.Tensor:
        held.append(len(some))
        return directions(some)

    similarity, place = closest_before(torch.from_numpy(noise), few, most=4, block=7)
    assert max(held) == 7, "vectors of more than a block are held at once"
    for row in range(1, 50):
        every = np.array([np.corrcoef(noise[row].ravel(), noise[other].ravel())[0, 1] for other in range(row)])
        known = min(row, 4)
        assert place[row, :known].tolist() == np.argsort(-every)[:known].tolist()
        assert similarity[row, :known].numpy() == pytest.approx(np.sort(every)[::-1][:known], abs=1e-5)
        assert (similarity[row, known:] == -1).all()


def test_near_duplicates_are_tied_through_others():
    import torch

    base = np.random.default_rng(1).integers(0, 256, (16, 16)).astype(np.float64)
    step = np.random.default_rng(2).normal(size=(16, 16)) * 9
    facts = [Facts(digest=str(index), sketch=(base + index * step).clip(0, 255).astype(np.uint8)) for index in range(4)]
    far = Facts(digest="far", sketch=np.random.default_rng(3).integers(0, 256, (16, 16)).astype(np.uint8))
    (group,) = near_duplicates([*facts, far], 0.985, torch.device("cpu"))
    assert group.members == [0, 1, 2, 3] and 0.985 <= group.similarity < 1


def test_every_recipe_that_may_be_suggested_is_there():
    import torch

    from pcae.evaluation.recipe_choice import recipe_for
    from pcae.settings.recipes import read_recipe

    for device in ("cpu", "cuda"):
        for images in (20, 10_000, 2_000_000):
            for side in (28, 64, 128, 400):
                choice = recipe_for("photos", images, side, torch.device(device))
                assert choice.recipe in recipe_names(Run) and str(images) in choice.reason
                assert read_recipe(Run, choice.recipe)["model"].startswith("vit_")


def test_a_copy_is_found_though_another_one_is_more_alike(tmp_path):
    """B, A, C with A and C the most alike: B still stands in validation too."""
    import torch

    base = np.random.default_rng(1).normal(size=(16, 16))
    noise = np.random.default_rng(2).normal(size=(2, 16, 16)) * np.array([0.15, 0.12])[:, None, None]
    rows = [base, base + noise[0] + noise[1], base + noise[0]]
    facts = [Facts(digest=str(n), sketch=(128 + 30 * row).clip(0, 255).astype(np.uint8)) for n, row in enumerate(rows)]
    correlation = np.corrcoef([one.sketch.ravel() for one in facts])
    assert correlation[2, 1] > correlation[2, 0] > 0.985 > correlation[1, 0]
    (group,) = near_duplicates(facts, 0.985, torch.device("cpu"))
    assert group.members == [0, 1, 2]


def test_splits_without_a_common_ground_of_labels_do_not_conflict(planted, tmp_path, capsys):
    shutil.copytree(planted / "train" / "one", tmp_path / "flat")
    main(["check-data", str(planted), "--validation", str(tmp_path / "flat"), "--json", "--device", "cpu"])
    report = json.loads(capsys.readouterr().out)
    assert "12.png" not in str(report["faults"]["label_conflicts"])
    assert len(report["faults"]["label_conflicts"]["groups"]) == 1 and len(report["faults"]["leaks"]["groups"]) > 9


def test_thin_images_have_thumbnails_and_gray_data_are_held_against_files(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (2, 600, 3)).astype(np.uint8)).save(
        tmp_path / "photos" / "a.png"
    )
    main(["check-data", str(tmp_path / "photos"), "--out", str(tmp_path / "a.html"), "--validation", "sample"])
    assert "data:image/jpeg" in (tmp_path / "a.html").read_text()


def test_the_suggestion_is_what_auto_takes(tmp_path, capsys):
    noise = np.random.default_rng(0)
    for index in range(6):
        pixels = noise.integers(0, 4096, (5, 32, 32)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{index}.tif", pixels, photometric="minisblack")
    more = ["--channels", "5", "--pixel-range", "0", "4095"]
    main(["check-data", str(tmp_path), *more, "--json", "--device", "cpu"])
    report = json.loads(capsys.readouterr().out)
    assert not report["remarks"] and report["pixels"] == {"uint16 x 5": 6}
    command = report["suggestion"]["command"].replace("--recipe vit-ti-32", "--recipe auto").split()[1:]
    out = tmp_path.parent / f"{tmp_path.name} run"
    command[command.index("--out") + 1] = str(out)
    main([*command, "--device", "cpu", "--steps", "1", "--width", "24", "--heads", "2", "--batch-size", "4"])
    assert "recipe auto: vit-ti-32 (6 images, shorter side about 32 pixels, cpu)" in capsys.readouterr().err


def checked(folder: Path, capsys, *words: str) -> dict:
    main(["check-data", str(folder), "--json", "--device", "cpu", "--workers", "0", *words])
    return json.loads(capsys.readouterr().out)


def test_pixels_without_data_are_named_and_count_in_no_mean(tmp_path, capsys):
    pixels = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    pixels[:10] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    bytes_ = np.random.default_rng(1).integers(1, 256, (40, 50)).astype(np.uint8)
    bytes_[:, :25] = 7
    tifffile.imwrite(tmp_path / "b.tif", bytes_, extratags=[(42113, 2, 2, "7", True)])
    report = checked(tmp_path, capsys, "--channels", "1")
    named = report["faults"]["missing_pixels"]["groups"]
    assert [(Path(one["file"]).name, one["reason"]) for (one,) in named] == [
        ("a.tif", "25.0% of its pixels"),
        ("b.tif", f"{(bytes_ == 7).mean():.1%} of its pixels"),
    ]
    known = [np.rint(pixels[10:] * 255) / 255, bytes_[bytes_ != 7] / 255]
    assert report["mean"] == pytest.approx([np.mean([one.mean() for one in known])])
    images = open_images(str(tmp_path), channels=1)
    mean, std = pixel_statistics(images, (40, 50), BadFiles(images, 0.0))
    assert mean == pytest.approx(report["mean"], abs=0.01) and std == pytest.approx(report["std"], abs=0.01)


def test_two_colours_of_the_same_gray_are_not_one(tmp_path, capsys):
    shape = np.full((40, 40, 3), 227, np.uint8)
    shape[10:30, 10:30] = (255, 255, 0)
    Image.fromarray(shape).save(tmp_path / "yellow on gray.png")
    Image.new("RGB", (40, 40), (255, 255, 0)).save(tmp_path / "yellow.png")
    assert groups(checked(tmp_path, capsys), "blank") == {frozenset({"yellow.png"})}


def test_an_opacity_that_may_be_another_band_is_said_and_the_remedy_works(tmp_path, capsys):
    bands = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 4)).astype(np.uint8)
    for index, pixels in enumerate(bands):
        tifffile.imwrite(tmp_path / f"{index}.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    (remark,) = checked(tmp_path, capsys)["remarks"]
    assert "2 images say that their last band is opacity" in remark and "--channels 4" in remark
    report = checked(tmp_path, capsys, "--channels", "4")
    assert report["remarks"] == [] and report["mean"] == pytest.approx((bands / 255).mean((0, 1, 2)).tolist())
    report = checked(tmp_path, capsys, "--bands", "1", "2", "3")
    assert report["remarks"] == [] and report["mean"] == pytest.approx((bands / 255).mean((0, 1, 2)).tolist()[:3])


def test_a_range_that_has_no_say_is_said(tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 64, (40, 50)).astype(np.uint8)).save(tmp_path / "a.png")
    (remark,) = checked(tmp_path, capsys, "--pixel-range", "0", "63")["remarks"]
    assert "--pixel-range has no say in 1 of 1 images" in remark


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """Random weights."""
    import torch

    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    torch.manual_seed(0)
    save_model(path, build_encoder(TINY).vit, PretrainedFacts(encoder=TINY, mean=[0.5] * 3, std=[0.25] * 3))
    return path


def test_by_features_mirrored_copies_and_parts_are_found(encoder, tmp_path, capsys):
    for index, piece in enumerate(crops(14)):
        folder = tmp_path / "data" / ("train" if index < 10 else "val")
        folder.mkdir(parents=True, exist_ok=True)
        piece.save(folder / f"{index:02d}.png")
    crops(3)[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "data" / "val" / "mirrored.png")
    crops(7)[6].crop((12, 8, 215, 188)).save(tmp_path / "data" / "train" / "part.png")
    shutil.copy(tmp_path / "data" / "train" / "03.png", tmp_path / "data" / "train" / "copy.png")
    words = ["check-data", str(tmp_path / "data"), "--device", "cpu", "--workers", "0"]
    main([*words, "--json"])
    assert "near_duplicates" not in json.loads(capsys.readouterr().out)["faults"]
    main([*words, "--json", "--by", str(encoder)])
    report = json.loads(capsys.readouterr().out)
    assert groups(report, "near_duplicates") == {
        frozenset({"02.png", "mirrored.png"}),
        frozenset({"06.png", "part.png"}),
    }
    assert report["compared_by"] == str(encoder) and str(encoder) in report["faults"]["near_duplicates"]["what"]
    assert groups(report, "leaks") == {frozenset({"02.png", "mirrored.png"})}
    main([*words, "--by", str(encoder), "--out", str(tmp_path / "page.html")])
    assert f"near duplicates: by {encoder}, from 0.85 on" in " ".join(capsys.readouterr().out.split())
    assert f"by {encoder}, from 0.85 on" in (tmp_path / "page.html").read_text()


def test_by_features_of_another_kind_of_images_is_refused(encoder, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["check-data", "sample", "--by", str(encoder), "--device", "cpu"])
    assert stop.value.code == 2 and "the model takes images of 3 channels, got 1" in capsys.readouterr().err
