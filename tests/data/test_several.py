"""Several DATA are the images of each, one after the other; one DATA is what it always was."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcae.cli import main
from pcae.data.images import open_images
from pcae.data.tables.labelled import open_labelled
from tests.data.shards.test_shards import pixels_of, png, write_tar
from tests.test_cli import call


def folder(root: Path, *names: str) -> str:
    """A folder of pictures, of which the number in the name decides each."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(int(Path(name).stem)))
    return str(root)


@pytest.fixture
def sources(tmp_path) -> tuple[str, str, str]:
    """A folder with splits, one without, and a tar."""
    a = folder(tmp_path / "a", "train/cat/1.png", "train/owl/2.png", "val/cat/3.png", "val/owl/4.png")
    b = folder(tmp_path / "b", "cat/1.png", "dog/5.png")
    both = [("6.png", png(6)), ("6.cls", b"ape"), ("7.png", png(7)), ("7.cls", b"cat")]
    return a, b, write_tar(tmp_path / "c.tar", both)


def test_images_and_labels_are_those_of_each_in_order(sources):
    images, parts = open_images(sources), [open_images(source) for source in sources]
    assert pixels_of(images) == [pixels for part in parts for pixels in pixels_of(part)]
    assert list(images.names) == [name for part in parts for name in part.names]
    assert images.classes == ["ape", "cat", "dog", "owl"]
    assert [images.classes[label] for label in images.labels] == ["cat", "owl", "cat", "dog", "ape", "cat"]
    assert [images.short(n) for n in range(6)] == [
        "1/cat/1.png", "1/owl/2.png", "2/cat/1.png", "2/dog/5.png", "3/c.tar/6.png", "3/c.tar/7.png",
    ]  # fmt: skip
    assert pixels_of(pickle.loads(pickle.dumps(images))) == pixels_of(images)
    assert pixels_of(images.without([0, 4])) == [pixels_of(images)[n] for n in (1, 2, 3, 5)]


def test_the_digest_says_which_images_in_which_order_wherever_they_lie(sources, tmp_path):
    digest = open_images(sources).digest()
    (tmp_path / "elsewhere").mkdir()
    moved = [str(Path(one).rename(tmp_path / "elsewhere" / f"moved {Path(one).name}")) for one in sources[:2]]
    assert open_images([*moved, sources[2]]).digest() == digest != open_images([sources[2], *moved]).digest()
    one = open_images(moved[1])
    assert open_images([moved[1]]).digest() == one.digest() == open_images(Path(moved[1])).digest()


def test_held_out_are_the_images_of_those_that_have_some(sources):
    train, held_out = open_labelled(sources)
    assert len(train) == 6 and [Path(name).name for name in held_out.names] == ["3.png", "4.png"]
    assert [train.classes[label] for label in held_out.labels] == ["cat", "owl"]
    with pytest.raises(ValueError, match=r"b' '.*c\.tar' has no held-out images and '.*a' has; give '.*a' alone"):
        open_images(sources, "test")
    assert len(open_images(sources[1:], "test")) == 4  # all, as of one without splits
    with pytest.raises(ValueError, match="has no held-out images; use a folder"):
        open_labelled(sources[1:])


@pytest.mark.parametrize("again", ["a", "./a", "a/../a", "link", "a/train"])
def test_an_image_that_is_named_twice_is_refused(sources, tmp_path, monkeypatch, again):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("a", target_is_directory=True)
    with pytest.raises(ValueError, match=r"have 'a/.*png' twice; take one source out"):
        open_images(["a", again])


def test_a_source_that_brings_held_out_images_into_training_is_refused(sources, tmp_path):
    with pytest.raises(ValueError, match=r"have '.*val/cat/3\.png' in training and held out; take one source out"):
        open_labelled((sources[0], str(tmp_path / "a" / "val")))


def test_what_lacks_labels_is_named(sources, tmp_path):
    flat = folder(tmp_path / "flat", "8.png")
    with pytest.raises(ValueError, match=r"counts no labels: '.*flat' has none$"):
        open_labelled((*sources, flat))


def test_gray_words_and_colour_files_are_read_as_colour(sources):
    images = open_images(["sample", sources[1]])
    assert (len(images), images.channels, len(images.classes)) == (9002, 3, 12)
    assert [images.open(n).shape[2] for n in (0, 9001)] == [3, 3]
    assert open_images(["sample", sources[1]], channels=1).open(9001).shape[2] == 1


def test_streams_stand_alone_and_one_index_has_all_shards(sources, tmp_path):
    write_tar(tmp_path / "d" / "d.tar", [("9.png", png(9))])
    main(["index", sources[2], str(tmp_path / "d"), str(tmp_path / "all.json")])
    assert open_images(str(tmp_path / "all.json")).source(2) == png(9)
    with pytest.raises(ValueError, match=r"all\.json' is a stream, which is read alone; write one index of all"):
        open_images([str(tmp_path / "all.json"), sources[1]])


def test_verbs_take_several(sources, tmp_path, capsys):
    status, out, _ = call(capsys, "check-data", *sources, "--json", "--workers", "0")
    report = json.loads(out)
    assert status == 0 and report["images"] == {"train": 6, "validation": 2}
    assert report["labels"]["train"] == {"cat": 3, "owl": 1, "dog": 1, "ape": 1}
    assert report["suggestion"]["command"].startswith(f"pcae pretrain {' '.join(sources)} --recipe")
    packed = tmp_path / "packed"
    words = ("pack", *sources, str(packed), "--side", "16", "--json", "--workers", "0")
    assert call(capsys, *words)[0] == 0
    assert [len(open_images(str(packed), split)) for split in ("train", "test")] == [6, 2]
    assert call(capsys, "pack", "--side", "16", str(packed))[2] == "pcae: missing: OUT; see --help\n"
    assert call(capsys, "pack", "--side", "16")[2] == "pcae: missing: DATA, OUT; see --help\n"
    assert call(capsys, "check-data")[2] == "pcae: missing: DATA; see --help\n"
    inside = call(capsys, "pack", *sources, f"{sources[1]}/packed")
    assert inside[0] == 2 and "lies inside the data" in inside[2] and sources[1] in inside[2]


def test_folders_that_were_packed_with_other_bands_are_no_one_data_set(tmp_path, capsys):
    colours = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    for name, pixels in zip("ab", colours, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.png")
    for name, bands in (("a", "321"), ("b", "321"), ("b", "123")):
        out = str(tmp_path / f"{name}-{bands}")
        call(capsys, "pack", str(tmp_path / name), out, "--side", "16", "--bands", *bands, "--workers", "0")
    alike = open_images([str(tmp_path / "a-321"), str(tmp_path / "b-321")])
    assert alike.bands == (3, 2, 1)
    shown = [alike.open(place) for place in range(2)]
    np.testing.assert_array_equal(shown, colours[..., ::-1])
    with pytest.raises(ValueError, match="other channels, pixel ranges or bands; pack all of them alike"):
        open_images([str(tmp_path / "a-321"), str(tmp_path / "b-123")])
