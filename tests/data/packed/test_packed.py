"""A packed folder is its source, decoded and shrunk once: the same pixels, names, labels and splits."""

import io
import json
import os
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage import data
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

from pcae.cli import main
from pcae.data.augment import crop_batch
from pcae.data.batches import whole_loader
from pcae.data.crops import WholeImages, picture_of
from pcae.data.images import Images, open_images
from pcae.data.packed import chunks
from pcae.data.packed.reading import BAD_FILES, HEADER, sealed, verify
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.several_labels import with_label_sets
from tests.photographs import TORN, photographs

SIZE = (24, 32)
PIXELS = ["--image-size", "24", "32", "--workers", "0"]
JPEG = ["--form", "jpeg", "--side", "64", "--workers", "0"]


def pack(source: Path, out: Path, *words: str) -> str:
    main(["pack", str(source), str(out), *words])
    return str(out)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Eight training and three validation photographs of two classes, larger and smaller than they are packed."""
    root = tmp_path_factory.mktemp("tree") / "photos"
    for index, photograph in enumerate([*photographs(), *photographs()[:3]]):
        folder = root / ("train" if index < 8 else "val") / ("roof", "ünï petal")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        piece = photograph.crop((0, 0, 90 + index * 7, 110 - index * 7))
        piece.save(folder / f"{index}{('.png', '.jpg', '.webp')[index % 3]}")
    return root


@pytest.fixture(scope="module", params=["pixels", "jpeg"])
def packed(tree, tmp_path_factory, request) -> str:
    return pack(tree, tmp_path_factory.mktemp("packed") / "out", *(PIXELS if request.param == "pixels" else JPEG))


def shorts(images: Images) -> list[str]:
    return [images.short(index) for index in range(len(images))]


def contents(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("split", ["train", "test"])
def test_names_labels_classes_and_order_are_the_sources(tree, packed, split):
    source, images = open_images(str(tree), split), open_images(packed, split)
    assert shorts(images) == shorts(source) and images.digest() == source.digest()
    assert images.labels == source.labels and list(images.classes) == source.classes == ["roof", "ünï petal"]
    assert images.channels == source.channels == 3
    assert images.names[0].startswith(packed)


def test_both_splits_are_labelled_alike(packed):
    train, held_out = open_labelled(packed)
    assert (len(train), len(held_out)) == (8, 3) and train.classes == held_out.classes


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_are_what_whole_images_are(tree, tmp_path, split):
    source = WholeImages(open_images(str(tree), split), SIZE)
    images = open_images(pack(tree, tmp_path / "out", *PIXELS), split)
    assert isinstance(images.items, np.memmap) and images.items.shape == (len(source), *SIZE, 3)
    for index, whole in enumerate(WholeImages(images, SIZE)[index] for index in range(len(images))):
        assert torch.equal(whole, source[index])
        assert np.array_equal(images.items[index], source[index].permute(1, 2, 0).numpy())


def test_jpeg_is_the_shrunk_image_in_that_quality(tree, tmp_path):
    source, out = open_images(str(tree)), pack(tree, tmp_path / "out", *JPEG, "--quality", "80")
    items, shrunk = open_images(out).items, 0
    for path, found in zip(source.names, items, strict=True):
        image = Image.open(path).convert("RGB")
        share = 64 / min(image.size)
        if share < 1:
            image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
            shrunk += 1
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        packed, same = Image.open(io.BytesIO(found)), Image.open(buffer)
        assert packed.size == image.size and packed.quantization == same.quantization
        assert np.abs(np.asarray(packed, float) - np.asarray(same)).mean() < 1
    assert 0 < shrunk < len(source)


def test_statistics_are_those_of_the_packed_pixels(tree, tmp_path):
    out = pack(tree, tmp_path / "out", *PIXELS)
    facts = json.loads((tmp_path / "out" / HEADER).read_text())["splits"]["train"]
    pixels = np.asarray(open_images(out).items) / 255
    np.testing.assert_allclose(facts["mean"], pixels.mean((0, 1, 2)))
    np.testing.assert_allclose(facts["std"], pixels.std((0, 1, 2)))


def test_a_folder_without_splits_and_labels_is_packed_as_one(tree, tmp_path):
    out = pack(tree / "train" / "roof", tmp_path / "out", *PIXELS)
    images = open_images(out)
    assert images.labels is None and not images.classes and len(images) == 4
    assert list(open_images(out, "test").names) == list(images.names)
    assert {path.name for path in Path(out).iterdir()} == {HEADER, "train.data", "train.index", "train.names"}


def test_one_split_alone_serves_for_both(tree, tmp_path):
    out = pack(tree, tmp_path / "out", *PIXELS, "--split", "test")
    assert (
        shorts(open_images(out, "train")) == shorts(open_images(out, "test")) == shorts(open_images(str(tree), "test"))
    )


def test_the_reserved_words_can_be_packed(tmp_path):
    out = pack(Path("sample"), tmp_path / "out", "--image-size", "28", "28", "--split", "test")
    source, images = open_images("sample", "test"), open_images(out, "test")
    assert np.array_equal(images.items[..., 0], source.items) and images.channels == 1
    assert (
        images.digest() == source.digest() and images.labels == source.labels and images.classes == list(source.classes)
    )


@pytest.mark.parametrize("channels", [1, 5])
def test_bits_and_bands_are_kept_as_they_are_read(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 4096, (channels, *SIZE)).astype(np.uint16)
    (tmp_path / "bands").mkdir()
    tifffile.imwrite(tmp_path / "bands" / "a.tif", values.squeeze(), photometric="minisblack")
    words = ["--channels", str(channels), "--pixel-range", "0", "4095"]
    images = open_images(pack(tmp_path / "bands", tmp_path / "out", *PIXELS, *words))
    expected = np.rint(np.moveaxis(values, 0, -1) * (255 / 4095))
    assert images.channels == channels and np.abs(images.items[0] - expected).max() <= 1
    source = open_images(str(tmp_path / "bands"), channels=channels, pixel_range=(0.0, 4095.0))
    assert torch.equal(WholeImages(images, SIZE)[0], WholeImages(source, SIZE)[0])
    assert torch.equal(WholeImages(images, (12, 12))[0], WholeImages(open_images(str(tmp_path / "out")), (12, 12))[0])
    assert images.pixel_range == (0, 4095) == open_images(str(tmp_path / "out"), pixel_range=(0.0, 4095.0)).pixel_range
    with pytest.raises(ValueError, match=r"packed with pixel_range \(0.0, 4095.0\), not \(0.0, 255.0\)"):
        open_images(str(tmp_path / "out"), pixel_range=(0.0, 255.0))


def test_gray_and_colour_serve_for_one_another_and_others_do_not(tree, packed):
    gray = open_images(packed, channels=1)
    assert np.array_equal(gray.open(0)[..., 0], np.asarray(picture_of(open_images(packed).open(0)).convert("L")))
    with pytest.raises(ValueError, match="packed with 3 channels, not 4; pack it anew with --channels 4"):
        open_images(packed, channels=4)


@pytest.mark.parametrize("words", [PIXELS, JPEG], ids=["pixels", "jpeg"])
def test_any_number_of_processes_packs_the_same_bytes(tree, tmp_path, words):
    alone, by_two = (pack(tree, tmp_path / count, *words[:-1], count) for count in ("0", "2"))
    assert contents(alone) == contents(by_two)


class Killed(BaseException):
    """What ends a packing at once."""


@pytest.mark.parametrize("words", [PIXELS, JPEG], ids=["pixels", "jpeg"])
@pytest.mark.parametrize("after", range(11))
def test_a_killed_packing_goes_on_to_the_same_bytes(tree, tmp_path, monkeypatch, words, after):
    """Killed after each image: at the start, in the middle and at the end of chunks of 3, of which some are short."""
    monkeypatch.setattr(chunks, "CHUNK", 3)
    whole = contents(pack(tree, tmp_path / "whole", *words))
    out, seen = tmp_path / "out", []
    shrink = chunks.shrunk

    def die(data, form, index):
        if len(seen) == after:
            raise Killed
        seen.append(index)
        return shrink(data, form, index)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(chunks, "DataLoader", one_by_one)
        patch.setattr(chunks, "shrunk", die)
        pack(tree, out, *words)
    assert not (out / HEADER).exists()
    monkeypatch.setattr(chunks, "shrunk", lambda data, form, index: seen.append(index) or shrink(data, form, index))
    assert contents(pack(tree, out, *words)) == whole
    kept = after // 3 * 3 if after < 8 else 8 + (after - 8) // 3 * 3
    assert len(seen) == after + 11 - kept


def one_by_one(dataset, batch_size, sampler, num_workers, collate_fn):
    """A loader that reads an image when it is wanted, not some before."""
    return ([dataset[index]] for index in sampler)


@pytest.mark.parametrize("harm", ["log", "line", "tail", "bytes", "data"])
def test_what_is_not_whole_when_a_packing_goes_on_is_packed_again(tree, tmp_path, monkeypatch, harm):
    """Half a line of the log, an empty one, bytes that it does not know, wrong ones in the first chunk, none at all."""
    monkeypatch.setattr(chunks, "CHUNK", 3)
    whole = contents(pack(tree, tmp_path / "whole", *PIXELS))
    stopped_after(6, tree, tmp_path / "out", monkeypatch)
    data, log = tmp_path / "out" / "train.data-00000", tmp_path / "out" / "train.chunks-00000"
    assert len(log.read_bytes().splitlines()) == 2
    if harm == "log":
        os.truncate(log, log.stat().st_size - 9)
    elif harm == "line":
        log.write_bytes(b"{}\n")
    elif harm == "tail":
        data.write_bytes(data.read_bytes() + b"half an image")
    elif harm == "bytes":
        data.write_bytes(b"\0\1\2" + data.read_bytes()[3:])
    else:
        data.unlink()
    assert contents(pack(tree, tmp_path / "out", *PIXELS)) == whole


def stopped_after(images: int, source: Path, out: Path, monkeypatch, *words: str) -> None:
    """Begin to pack and stop before the image at this place of the first split."""
    shrink = chunks.shrunk

    def die(data, form, index):
        if index == images:
            raise Killed
        return shrink(data, form, index)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(chunks, "DataLoader", one_by_one)
        patch.setattr(chunks, "shrunk", die)
        pack(source, out, *PIXELS, *words)


def test_an_image_that_was_repaired_is_packed_when_a_packing_goes_on(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 2)
    shutil.copytree(tree, tmp_path / "photos")
    torn = tmp_path / "photos" / "train" / "roof" / "2.webp"
    good = torn.read_bytes()
    torn.write_bytes(TORN)
    stopped_after(5, tmp_path / "photos", tmp_path / "out", monkeypatch, "--max-bad-files", "0.5")
    assert (tmp_path / "out" / "train.chunks-00000").read_bytes().count(b"\n") == 2
    torn.write_bytes(good)
    pack(tmp_path / "photos", tmp_path / "out", *PIXELS)
    assert contents(tmp_path / "out").keys() == contents(pack(tree, tmp_path / "whole", *PIXELS)).keys()
    assert contents(tmp_path / "out")["train.data"] == contents(tmp_path / "whole")["train.data"]


def test_files_that_cannot_be_read_are_left_out_and_named(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "photos")
    (tmp_path / "photos" / "train" / "roof" / "2.webp").write_bytes(TORN)
    out = pack(tmp_path / "photos", tmp_path / "out", *PIXELS, "--max-bad-files", "0.2")
    images, source = open_images(out), open_images(str(tree))
    bad = shorts(source).index("roof/2.webp")
    assert shorts(images) == [name for name in shorts(source) if name != "roof/2.webp"]
    assert images.labels == [label for index, label in enumerate(source.labels) if index != bad]
    kept = [WholeImages(source, SIZE)[index] for index in range(8) if index != bad]
    assert all(torch.equal(WholeImages(images, SIZE)[index], pixels) for index, pixels in enumerate(kept))
    (row,) = [json.loads(line) for line in (tmp_path / "out" / BAD_FILES).read_text().splitlines()]
    assert (row["split"], row["file"]) == ("train", "roof/2.webp") and row["reason"]


FILES = [HEADER, *(f"{split}.{part}" for split in ("train", "test") for part in ("data", "index", "names"))]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_and_the_file_named(packed, tmp_path, monkeypatch, name):
    out = Path(shutil.copytree(packed, tmp_path / "copy"))
    verify(str(out))
    content = bytearray((out / name).read_bytes())
    for place in (0, len(content) // 2, len(content) - 1):
        content[place] ^= 1
        (out / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"copy/{name}' is damaged"):
            verify(str(out))
        content[place] ^= 1


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_that_is_cut_off_or_missing_is_named_at_opening(packed, tmp_path, name):
    out = Path(shutil.copytree(packed, tmp_path / "copy"))
    os.truncate(out / name, (out / name).stat().st_size - 1)
    with pytest.raises(ValueError, match=rf"copy/{name}' has \d+ bytes, not \d+: it is cut off or damaged"):
        open_images(str(out))
    (out / name).unlink()
    with pytest.raises(ValueError, match=rf"copy/{name}' is missing"):
        open_images(str(out))


def test_what_is_not_finished_is_no_data(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 3)
    stopped_after(4, tree, tmp_path / "out", monkeypatch)
    with pytest.raises(ValueError, match="is not finished; give the same `pcae pack` again"):
        open_images(str(tmp_path / "out"))


def test_a_folder_of_a_later_version_is_refused(packed, tmp_path):
    from pcae.data.packed.reading import sealed

    out = Path(shutil.copytree(packed, tmp_path / "copy"))
    header = json.loads((out / HEADER).read_text())
    del header["checksum"]
    (out / HEADER).write_text(sealed(header | {"format": 2}))
    with pytest.raises(ValueError, match="is of format 2, not 1"):
        open_images(str(out))


def test_processes_share_the_file_and_get_no_copy(packed):
    images = open_images(packed)
    sent = pickle.dumps(images)
    assert len(sent) < 2_000 + 200 * len(images)
    again = pickle.loads(sent)
    part = pickle.loads(pickle.dumps(images.items[1]))
    for index in range(len(images)):
        assert np.array_equal(again.open(index), images.open(index))
    assert np.array_equal(part, images.items[1])
    alone, by_two = ([batch.pixels for batch in whole_loader(images, SIZE, None, 2, workers)] for workers in (0, 2))
    assert torch.equal(torch.cat(alone), torch.cat(by_two))


def test_a_packed_set_may_be_thinned_out(packed):
    images = open_images(packed)
    rest = images.without([0, 3])
    assert shorts(rest) == [name for index, name in enumerate(shorts(images)) if index not in {0, 3}]
    assert np.array_equal(rest.open(0), images.open(1))


def test_packing_never_holds_the_set_in_memory(tmp_path):
    Image.fromarray(data.astronaut()).save(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\n" * 160)
    tracemalloc.start()
    try:
        pack(tmp_path / "list.txt", tmp_path / "out", "--workers", "0")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out" / "train.data").stat().st_size == 160 * 256 * 256 * 3
    assert most < 160 * 256 * 256 * 3 / 3


BOXES = [(0, 0, 256, 256), (13, 40, 230, 97), (200, 3, 216, 19), (31, 0, 95, 255), (254, 255, 256, 256)]


@pytest.mark.parametrize("size", [(48, 32), (224, 192)])
def test_crops_on_the_device_are_torchvisions(size):
    """Each image with a box of its own, shrunk and enlarged, against torchvision's antialiased bicubic crop."""
    sources = (data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.retina()[400:, 400:])
    pixels = torch.stack([torch.from_numpy(pixels[:256, :256].copy()).permute(2, 0, 1) for pixels in sources])
    crops = crop_batch(pixels, torch.tensor(BOXES), size)
    assert crops.dtype == torch.uint8 and crops.shape == (5, 3, *size)
    for image, (left, top, right, bottom), crop in zip(pixels, BOXES, crops, strict=True):
        expected = resized_crop(
            image, top, left, bottom - top, right - left, list(size), InterpolationMode.BICUBIC, antialias=True
        )
        assert (crop.float() - expected.float()).abs().mean() < 0.5


def test_a_crop_of_the_whole_in_its_own_size_is_the_image():
    pixels = torch.randint(0, 256, (2, 5, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(crop_batch(pixels, torch.tensor([[0, 0, 32, 24]] * 2), (24, 32)), pixels)
    out = crop_batch(pixels, torch.tensor([[4.0, 3.0, 20.0, 11.0], [0.0, 16.0, 16.0, 24.0]]), (8, 16))
    assert torch.equal(out[0], pixels[0, :, 3:11, 4:20]) and torch.equal(out[1], pixels[1, :, 16:, :16])


def test_several_labels_an_image_are_packed_and_other_labels_are_others(tree, tmp_path, capsys):
    paths = sorted(str(path) for path in (tree / "train").rglob("*.*"))
    labels = ["roof|petal", "roof", "", "sky", "petal", "petal|sky", "roof", "roof|sky"]
    table = tmp_path / "list.csv"

    def write(labels: list[str]) -> None:
        table.write_text("\n".join(["path,labels", *map(",".join, zip(paths, labels, strict=True))]))

    write(labels)
    source, images = (open_images(data) for data in (table, pack(table, tmp_path / "out", *PIXELS)))
    assert images.labels is None and images.unlabelled == source.unlabelled.replace(paths[2], images.names[2])
    several = [with_label_sets(found, "it") for found in (source, images)]
    assert several[0].label_sets == several[1].label_sets and several[1].classes == ["petal", "roof", "sky"]
    write(labels[::-1])
    with pytest.raises(SystemExit):
        pack(table, tmp_path / "out", *PIXELS)
    assert "holds other labels of the split train" in capsys.readouterr().err
    header = json.loads((tmp_path / "out" / HEADER).read_text())
    del header["source"]["train"]["labels"], header["source"]["train"]["several"], header["checksum"]
    (tmp_path / "out" / HEADER).write_text(sealed(header))
    with pytest.raises(SystemExit):  # it was packed when labels were not kept
        pack(table, tmp_path / "out", *PIXELS)
    assert "holds other labels of the split train" in capsys.readouterr().err
    said = tmp_path / "out" / "train.labels"
    said.write_text(said.read_text().replace('"petal|sky", ', " " * 13))
    with pytest.raises(ValueError, match="train.labels' is damaged; pack the images anew"):
        open_images(tmp_path / "out")
