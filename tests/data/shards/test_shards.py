"""Shards are what the same images in a folder are: the same pixels, labels and order, read in any order."""

import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pcae.cli import main
from pcae.data.batches import whole_loader
from pcae.data.crops import WholeImages
from pcae.data.files.decode import Unreadable
from pcae.data.images import open_images
from pcae.data.lazy import Lazy
from pcae.data.shards.names import braces
from pcae.data.shards.tar import MOST_OPEN
from pcae.data.survey import look
from tests.photographs import make_folder

CLASSES = ("cat", "dog", "owl")
SIZE = (24, 32)


def png(index: int) -> bytes:
    """A small image that no other index has."""
    pixels = np.random.default_rng(index).integers(0, 256, (20 + index % 7, 30, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def samples(first: int, last: int) -> list[tuple[str, bytes]]:
    """Images with a .cls each, as WebDataset's writer leaves them."""
    both = [[(f"{n:04d}.cls", CLASSES[n % 3].encode()), (f"{n:04d}.png", png(n))] for n in range(first, last)]
    return [member for sample in both for member in sample]


def pixels_of(images) -> list[bytes]:
    return [images.open(index).tobytes() for index in range(len(images))]


def short(images) -> list[str]:
    return [images.short(index) for index in range(len(images))]


def files_open() -> int:
    """Files that this process has open, where the system tells."""
    return sum(1 for _ in Path("/proc/self/fd").glob("*"))


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same 12 training and 6 validation images as shards and as a folder, in the same order by label."""
    root = tmp_path_factory.mktemp("twins")
    for split, shards, start in (("train", 3, 0), ("val", 2, 12)):
        numbers = sorted(range(start, start + (12 if split == "train" else 6)), key=lambda n: n % 3)
        members = {n: samples(n, n + 1) for n in numbers}
        for shard, part in enumerate(np.array_split(numbers, shards)):
            write_tar(root / "shards" / f"{split}-{shard:06d}.tar", [one for n in part for one in members[int(n)]])
        for n in numbers:
            place = root / "folder" / split / CLASSES[n % 3] / f"{n:04d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png(n))
    return root


@pytest.mark.parametrize("split", ["train", "test"])
def test_shards_equal_the_folder(twins, split):
    shards, folder = (open_images(str(twins / kind), split) for kind in ("shards", "folder"))
    assert len(shards) == (12 if split == "train" else 6)
    assert pixels_of(shards) == pixels_of(folder)
    assert (shards.labels, shards.classes) == (folder.labels, folder.classes) == (folder.labels, list(CLASSES))
    assert shards.others == {} and len(set(shards.names)) == len(shards)


def test_names_are_those_of_the_shard_and_the_sample(twins):
    images = open_images(str(twins / "shards"))
    assert short(images)[:2] == ["train-000000.tar/0000.png", "train-000000.tar/0003.png"]
    assert images.names[0] == f"{twins}/shards/train-000000.tar/0000.png"


def test_what_check_data_sees_is_what_it_sees_in_a_folder(twins):
    shards, folder = (open_images(str(twins / kind)) for kind in ("shards", "folder"))
    for index in range(len(shards)):
        one, two = look(shards, index), look(folder, index)
        assert (one.format, one.kind, one.size, one.bytes, one.digest, one.mean) == (
            two.format, two.kind, two.size, two.bytes, two.digest, two.mean,
        )  # fmt: skip


def test_every_kind_of_image_is_read_from_bytes_as_from_a_file(tmp_path):
    """TIFFs of 16 bits and floats among them, which another library reads."""
    make_folder(tmp_path / "folder", 20, bad=3)
    files = sorted((tmp_path / "folder").iterdir())
    write_tar(tmp_path / "a.tar", [(file.name, file.read_bytes()) for file in files])
    shards, folder = open_images(str(tmp_path / "a.tar")), open_images(str(tmp_path / "folder"))
    assert len(shards) == len(folder) == 20
    for index in range(20):
        one, two = look(shards, index), look(folder, index)
        assert (one.error, one.kind, one.size, one.values, one.mean) == (
            two.error, two.kind, two.size, two.values, two.mean,
        )  # fmt: skip
    assert sum(look(shards, index).error is not None for index in range(20)) == 3
    bad = next(index for index in range(20) if "torn 0" in shards.names[index])
    with pytest.raises(Unreadable, match=r"a\.tar/torn 0\.jpg' cannot be read: "):
        shards.open(bad)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_reading_processes_change_nothing(twins, context):
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip("no such processes here")
    images = open_images(str(twins / "shards"))
    expected = torch.stack([WholeImages(images, SIZE)[index] for index in range(12)])
    loader = whole_loader(images, SIZE, batch_size=5)
    apart = DataLoader(loader.dataset, 5, num_workers=2, collate_fn=loader.collate_fn, multiprocessing_context=context)
    assert torch.equal(torch.cat([batch.pixels for batch in apart]), expected)


def test_a_copy_reads_the_same_though_the_original_has_shards_open(twins):
    images = open_images(str(twins / "shards"))
    expected = pixels_of(images)
    assert pixels_of(pickle.loads(pickle.dumps(images))) == expected


def test_more_shards_than_may_be_open_are_read_in_any_order(tmp_path):
    count = MOST_OPEN + 6
    for n in range(count):
        write_tar(tmp_path / f"{n:03d}.tar", [("a.png", png(n))])
    images = open_images(str(tmp_path))
    assert len(images) == count
    before = files_open()
    for n in [*range(count), *reversed(range(count))]:
        assert images.source(n) == png(n)
    assert files_open() - before <= MOST_OPEN


def test_without_leaves_images_out_and_stays_lazy(twins):
    images = open_images(str(twins / "shards"))
    expected, labels = pixels_of(images), images.labels
    rest = images.without({0, 5}).without([1])
    kept = [1, *range(3, 5), *range(6, 12)]
    assert isinstance(rest.items, Lazy) and isinstance(rest.names, Lazy)
    assert pixels_of(rest) == [expected[row] for row in kept] and rest.labels == [labels[row] for row in kept]
    assert short(rest) == [short(images)[row] for row in kept]


def test_the_digest_says_which_images_and_not_where(twins, tmp_path):
    images = open_images(str(twins / "shards"))
    (tmp_path / "moved").symlink_to(twins / "shards", target_is_directory=True)
    pattern = str(twins / "shards" / "train-{000000..000002}.tar")
    assert len({one.digest() for one in (images, open_images(str(tmp_path / "moved")), open_images(pattern))}) == 1
    assert images.without([3]).digest() != images.digest() != open_images(str(twins / "shards"), "test").digest()


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["train/a.tar", "val/b.tar"], ["a.tar"], ["b.tar"]),
        (["train/a.tar", "test/b.tar"], ["a.tar"], ["b.tar"]),
        (["train-0.tar", "val_0.tar"], ["train-0.tar"], ["val_0.tar"]),
        (["x-0.tar", "x-1.tar", "Test0.tar"], ["x-0.tar", "x-1.tar"], ["Test0.tar"]),
        (["train.tar", "validation.tar", "test.tar"], ["train.tar"], ["validation.tar"]),
        (["training-0.tar", "values-0.tar"], ["training-0.tar", "values-0.tar"], ["training-0.tar", "values-0.tar"]),
        (["train-0.tar"], ["train-0.tar"], ["train-0.tar"]),
        (["in1k-train-0.tar", "in1k-validation-0.tar"], ["in1k-train-0.tar"], ["in1k-validation-0.tar"]),
        (["in_train_0.tar", "in_val_0.tar", "in_test_0.tar"], ["in_train_0.tar"], ["in_val_0.tar"]),
        (["crash-test-0.tar", "y.tar"], ["crash-test-0.tar", "y.tar"], ["crash-test-0.tar", "y.tar"]),
        (["test-train-0.tar", "x-train-1.tar"], ["x-train-1.tar"], ["test-train-0.tar"]),
        (["Train/a.tar", "Test/b.tar"], ["a.tar"], ["b.tar"]),
        (["val-0.tar"], ["val-0.tar"], ["val-0.tar"]),
    ],
)
def test_splits_are_folders_or_how_names_begin(tmp_path, names, train, test):
    for number, name in enumerate(names):
        write_tar(tmp_path / name, [("a.png", png(number))])
    found = [
        [Path(name).parent.name for name in open_images(str(tmp_path), split).names] for split in ("train", "test")
    ]
    assert found == [train, test]


def test_a_pattern_names_shards_in_its_order(twins):
    pattern = str(twins / "shards" / "{val-{000001..000000},train-000002}.tar")
    with pytest.raises(ValueError, match="is no file"):  # braces within braces are not meant
        open_images(pattern)
    images = open_images(str(twins / "shards" / "{train,val}-{000001..000000}.tar"))
    assert list(dict.fromkeys(Path(name).parent.name for name in images.names)) == [
        "train-000001.tar", "train-000000.tar",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"train-000003\.tar' is no file; check the path"):
        open_images(str(twins / "shards" / "train-{000000..999999999}.tar"))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{2..0}.tar", ["2.tar", "1.tar", "0.tar"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("x{,y}", ["x", "xy"]),
        ("{a}{0-3}", ["{a}{0-3}"]),
    ],
)
def test_braces_are_the_shells(pattern, names):
    assert list(braces(pattern)) == names


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([("cls", b"7\n")], ["7"]),
        ([("cls", "Käse".encode())], ["Käse"]),
        ([("json", b'{"label": 3, "cls": "x"}')], ["3"]),
        ([("json", b'{"cls": "owl"}')], ["owl"]),
        ([("cls", b"1"), ("json", b'{"label": 2}')], ["1"]),
        ([("json", b'{"caption": "a"}')], None),
        ([("json", b"[1]")], None),
        ([("json", b"{torn")], None),
        ([("json", b'{"label": [1, 2]}')], None),
        ([("cls", b" ")], None),
        ([("txt", b"cat")], None),
    ],
)
def test_labels_stand_in_cls_or_json(tmp_path, label, expected):
    data = write_tar(tmp_path / "a.tar", [("0.png", png(0)), *((f"0.{suffix}", text) for suffix, text in label)])
    images = open_images(data)
    assert (images.labels is None) if expected is None else ([images.classes[n] for n in images.labels] == expected)


def test_one_label_missing_is_no_labels(tmp_path):
    images = open_images(write_tar(tmp_path / "a.tar", [*samples(0, 3), ("0009.png", png(9))]))
    assert len(images) == 4 and images.labels is None


def test_numbers_are_classes_by_value(tmp_path):
    members = [(f"{n}.{suffix}", text) for n in (10, 2, 0) for suffix, text in (("png", png(n)), ("cls", b"%d" % n))]
    images = open_images(write_tar(tmp_path / "a.tar", members))
    assert images.classes == ["0", "2", "10"] and images.labels == [2, 1, 0]


def test_a_sample_is_what_agrees_up_to_the_first_dot(tmp_path):
    members = [
        ("./a.b/1.mask.png", png(8)), ("./a.b/1.PNG", png(1)), ("./a.b/1.cls", b"x"), ("./a.b/1.txt", b"a caption"),
        ("2.cls", b"y"), ("3.left.png", png(3)), ("3.right.png", png(9)), ("3.cls", b"z"), (".4.png", b""), ("5", b""),
    ]  # fmt: skip
    images = open_images(write_tar(tmp_path / "a.tar", members))
    assert short(images) == ["a.tar/a.b/1.PNG", "a.tar/3.left.png"]
    assert [images.source(index) for index in (0, 1)] == [png(1), png(3)] and images.labels == [0, 1]
    assert images.others == {".mask.png": 1, ".txt": 1, ".cls": 1, ".right.png": 1, "without suffix or hidden": 2}


@pytest.mark.parametrize(
    "names",
    [
        [f"2024.05.01_{n:04}.jpg" for n in range(300)],
        [f"2024.05.01_{n}.jpg" for n in range(3)],
        [f"{year}.05.01_{n:04}.png" for year in (2023, 2024) for n in range(40)],
        [f"v1.{n}.png" for n in range(20)] + [f"v2.{n}.png" for n in range(20)],
        [f"J.{chr(97 + n)}.png" for n in range(20)],
        ["photo.jpg", *(f"photo.{n}.jpg" for n in range(1, 30))],
    ],
)
def test_names_with_dots_whose_images_would_be_lost_are_refused(tmp_path, capsys, names):
    """As images and in an index; with one dot each, all of them are there."""
    data = write_tar(tmp_path / "a.tar", [(name, png(1)) for name in names])
    samples = {name.partition(".")[0] for name in names}
    said = f"a.tar' would lose {len(names) - len(samples)} images: '{names[0]}' and '{names[1]}' are one sample"
    with pytest.raises(ValueError, match=re.escape(said)):
        open_images(data)
    with pytest.raises(SystemExit):
        main(["index", data, str(tmp_path / "index.json")])
    assert said in capsys.readouterr().err
    renamed = [name.rpartition(".")[0].replace(".", "_") + ".png" for name in names]
    assert len(open_images(write_tar(tmp_path / "b.tar", [(name, png(1)) for name in renamed]))) == len(names)


def test_a_name_that_stands_twice_in_a_sample_is_refused(tmp_path):
    pair = [("0.png", png(0)), ("0.cls", b"cat")]
    write_tar(tmp_path / "a.tar", [*pair, *pair])
    for stream in (False, True):
        with pytest.raises(ValueError, match=r"a\.tar' has '0\.png' twice beside one another"):
            open_images(str(tmp_path), stream=stream)
    write_tar(tmp_path / "a.tar", [*pair, ("1.png", png(1)), ("1.cls", b"dog"), *pair])
    assert len(open_images(str(tmp_path))) == 3


def test_kinds_of_images_are_one_sample_and_what_does_not_count_is_said(tmp_path, capsys):
    members = [(f"{n}.{kind}.png", png(n)) for n in range(30) for kind in ("rgb", "depth7")]
    members += [(f"{n}.0{n}x.txt", b"") for n in range(30)]
    images = open_images(write_tar(tmp_path / "a.tar", members))
    assert len(images) == 30 and images.others == {".depthN.png": 30} | {".Nx.txt": 30} | {}
    assert "30 images are left out: '0.rgb.png' and '0.depth7.png' are one sample" in capsys.readouterr().err
    assert (
        images.left_out() == "30 .depthN.png, 30 .Nx.txt" and images.left_out(1) == "30 .depthN.png and 1 other kinds"
    )


def test_why_labels_do_not_count_is_said(tmp_path):
    some = open_images(write_tar(tmp_path / "a.tar", [*samples(0, 3), ("9.png", png(9))]))
    assert some.unlabelled.startswith("1 of 4 samples have no label, the first is '/a.tar/9.png'; label them")
    tags = [
        ("1.png", png(1)),
        ("1.json", b'{"label": ["cat", 7]}'),
        ("2.png", png(2)),
        ("2.json", b'{"label": ["cat"]}'),
    ]
    several = open_images(write_tar(tmp_path / "b.tar", tags))
    assert several.unlabelled.startswith("1 of 2 samples have several labels, the first is '/b.tar/1.png' (cat, 7);")


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_odd_names_are_names(tmp_path, kind):
    names = ["x" * 300 + ".png", "a photo.png", "c [red]ünïcode 猫.png", "line\nbreak.png", "UPPER.PNG"]
    images = open_images(write_tar(tmp_path / "a.tar", [(name, png(n)) for n, name in enumerate(names)], kind))
    assert short(images) == [f"a.tar/{name}" for name in names]
    assert [images.source(n) for n in range(5)] == [png(n) for n in range(5)]


def test_evil_members_write_nothing_and_are_read_as_bytes_alone(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(5))
    data = tmp_path / "in" / "a.tar"
    write_tar(data, [("../../evil.png", png(1)), ("/absolute.png", png(2))])
    with tarfile.open(data, "a") as tar:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    before = sorted(tmp_path.rglob("*"))
    images = open_images(str(data))
    assert short(images) == ["a.tar/../../evil.png", "a.tar//absolute.png"]
    assert [images.source(index) for index in range(2)] == [png(1), png(2)] and pixels_of(images)
    assert images.others == {"links or devices": 3}
    assert sorted(tmp_path.rglob("*")) == before and not Path("/absolute.png").exists()


WHOLE = 3 * (512 + 1024)


@pytest.mark.parametrize("cut", [100, 512, 700, 1536, 1600, 2048, 3000, WHOLE])
def test_a_shard_that_is_cut_off_is_named_wherever_the_cut_is(tmp_path, cut):
    """Between two members too, and behind the last one: a whole tar ends in zeros."""
    write_tar(tmp_path / "a.tar", [(f"{n}.png", b"x" * 1000) for n in range(3)])
    whole = (tmp_path / "a.tar").read_bytes()
    assert whole[WHOLE:] == bytes(len(whole) - WHOLE) and whole[WHOLE - 24 - 1] == ord("x")
    (tmp_path / "b.tar").write_bytes(whole[:cut])
    with pytest.raises(
        ValueError, match=r"^shard '.*b\.tar' is cut off, damaged or no \.tar file \(.*\); copy it again$"
    ):
        open_images(str(tmp_path / "b.tar"))
    (tmp_path / "b.tar").write_bytes(whole[: WHOLE + 512])
    assert len(open_images(str(tmp_path / "b.tar"))) == 3


def test_a_shard_that_is_damaged_inside_or_no_tar_at_all_is_named(tmp_path):
    write_tar(tmp_path / "a.tar", [(f"{n}.png", b"x" * 1000) for n in range(3)])
    whole = bytearray((tmp_path / "a.tar").read_bytes())
    whole[1536:1700] = b"\xff" * 164
    for content in (bytes(whole), b"", b"no tar" * 500, png(0)):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.tar' is cut off, damaged or no \.tar file"):
            open_images(str(tmp_path))


@pytest.mark.parametrize("size", [-512, 2**62, 2**80])
def test_a_member_of_impossible_size_is_refused_at_once(tmp_path, size):
    """A negative one made tarfile go round in circles once."""
    path = Path(write_tar(tmp_path / "a.tar", [("0.png", png(0)), ("1.png", png(1))], tarfile.GNU_FORMAT))
    whole = bytearray(path.read_bytes())
    first = 512 * (1 + -(-len(png(0)) // 512))
    whole[first + 124 : first + 136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header = tarfile.calc_chksums(bytes(whole[first : first + 512]))[0]
    whole[first + 148 : first + 156] = b"%06o\0 " % header
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"a\.tar' is cut off, damaged or no \.tar file \("):
        open_images(str(path))


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.tar.gz", gzip.compress), ("a.tgz", gzip.compress), ("a.tar.xz", lzma.compress), ("a.tar", bz2.compress)],
)
def test_compressed_shards_are_refused_by_name(tmp_path, name, compress):
    whole = Path(write_tar(tmp_path / "whole.tar", samples(0, 1))).read_bytes()
    (tmp_path / "whole.tar").unlink()
    (tmp_path / name).write_bytes(compress(whole))
    for data in (tmp_path, tmp_path / name):
        with pytest.raises(ValueError, match=rf"{name}' is compressed; unpack it"):
            open_images(str(data))


@pytest.mark.parametrize(
    "data", ["https://host/a.tar", "s3://bucket/train-{0..9}.tar", "pipe:curl x", "gs://b/x", "file:///a.tar"]
)
def test_addresses_of_shards_are_refused_without_an_index(data):
    """And so is what would start a program."""
    with pytest.raises(ValueError, match=r"write it by pcae index|is none that is read|is no shard"):
        open_images(data)


def test_shards_without_images_say_what_they_hold(tmp_path):
    write_tar(tmp_path / "a.tar", [("0.txt", b"x"), ("1.txt", b"y"), ("0.npy", b"")])
    with pytest.raises(ValueError, match=r"holds no image files .*, but 2 \.txt, 1 \.npy"):
        open_images(str(tmp_path))


def test_a_folder_of_images_does_not_mind_an_archive_beside_them(tmp_path):
    write_tar(tmp_path / "backup.tar", samples(0, 2))
    (tmp_path / "a.png").write_bytes(png(0))
    images = open_images(str(tmp_path))
    assert short(images) == ["a.png"] and images.others == {".tar": 1}


def test_a_shard_that_may_not_be_read_is_named(tmp_path, unprivileged):
    write_tar(tmp_path / "a.tar", samples(0, 1))
    (tmp_path / "a.tar").chmod(0)
    with unprivileged(tmp_path), pytest.raises(ValueError, match=r"a\.tar' cannot be read: Permission denied"):
        open_images(str(tmp_path))


def test_a_shard_that_goes_away_makes_unreadable_images(tmp_path):
    listed = open_images(write_tar(tmp_path / "a.tar", samples(0, 1)))
    images = pickle.loads(pickle.dumps(listed))  # as a reading process has it, which has not opened the shard yet
    (tmp_path / "a.tar").unlink()
    with pytest.raises(Unreadable, match=r"a\.tar/0000\.png' cannot be read: No such file"):
        images.open(0)
    assert look(images, 0).error == "No such file or directory"


TINY = [
    "--recipe", "sample", "--channels", "3", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "4", "--device", "cpu", "--steps", "3", "--warmup-epochs", "0",
]  # fmt: skip


@pytest.mark.slow
def test_the_verbs_do_with_shards_what_they_do_with_the_folder(twins, tmp_path, capsys):
    """Bit for bit: pre-training with and without reading processes, features, and a probe's accuracy."""
    weights, features, probes = [], [], []
    for data, workers in (("folder", "0"), ("shards", "0"), ("shards", "2")):
        out = tmp_path / f"{data}{workers}"
        main(["pretrain", str(twins / data), "--out", str(out), *TINY, "--workers", workers])
        main(["embed", str(twins / data), "--weights", str(out), "--out", f"{out}.npy", "--workers", workers])
        capsys.readouterr()
        main(["probe", str(twins / data), "--weights", str(out), "--k", "3", "--json"])
        probes.append([one["accuracy"] for one in json.loads(capsys.readouterr().out)["probes"]])
        weights.append((out / "encoder.safetensors").read_bytes())
        features.append(Path(f"{out}.npy").read_bytes())
    assert len(set(weights)) == len(set(features)) == 1
    assert probes[0] == probes[1] == probes[2] != []
    names = json.loads((tmp_path / "shards0.files.json").read_text())
    assert names[0].endswith("train-000000.tar/0000.png") and len(names) == 12


def test_check_data_looks_into_shards(twins, tmp_path, capsys):
    write_tar(tmp_path / "data" / "train.tar", [*samples(0, 4), ("copy.png", png(2)), ("torn.png", b"no image")])
    write_tar(tmp_path / "data" / "val.tar", [*samples(3, 6)])
    main(["check-data", str(tmp_path / "data"), "--json", "--device", "cpu", "--out", str(tmp_path / "page.html")])
    report = json.loads(capsys.readouterr().out)
    named = {
        fault: [sorted(Path(one["file"]).name for one in group) for group in found["groups"]]
        for fault, found in report["faults"].items()
    }
    assert named["unreadable"] == [["torn.png"]] and named["leaks"] == [["0003.png", "0003.png"]]
    assert sorted(named["exact_duplicates"]) == [["0002.png", "copy.png"], ["0003.png", "0003.png"]]
    assert report["images"] == {"train": 6, "validation": 3} and report["suggestion"]["recipe"] == "vit-ti-32"
    assert "train.tar/0000.png" in (tmp_path / "page.html").read_text()
