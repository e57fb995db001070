"""`pcae pack` through the command line: what it refuses, survives and says, and runs on what it wrote."""

import contextlib
import json
import resource
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcae.cli import main
from pcae.data.packed import chunks
from pcae.data.packed.reading import HEADER
from pcae.sharing import packing_folder
from tests.photographs import photographs

SMALL = [
    "--recipe", "sample", "--width", "24", "--depth", "3", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "4", "--steps", "2", "--device", "cpu",
]  # fmt: skip
TINY = ["--image-size", "28", "28", "--workers", "0"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Twelve pieces of photographs of 28 x 28 in PNG, of two classes, in train and val."""
    root = tmp_path_factory.mktemp("data") / "photos"
    for index in range(12):
        folder = root / ("train" if index < 8 else "val") / ("one", "two")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        photographs()[index % 8].crop((90, index * 9, 118, index * 9 + 28)).save(folder / f"{index:02d}.png")
    return root


def call(capsys, *words) -> tuple[int, str, str]:
    """Exit status, standard output and the last line of standard error."""
    status = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        status = int(stop.code or 0)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out, said.err.strip().rpartition("\n")[2]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--side", "0"], "side must be at least 1, got 0"),
        (["--image-size", "8", "-1"], "image_size must be at least 1, got -1"),
        (["--image-size", "8", "8", "--side", "9"], "give side or image_size, not both"),
        (["--quality", "50"], "quality is no setting of form pixels"),
        (["--form", "jpeg", "--image-size", "8", "8"], "image_size is no setting of form jpeg"),
        (["--form", "jpeg", "--quality", "101"], "quality must lie in [1, 100], got 101"),
        (["--form", "jpeg", "--channels", "5"], "form jpeg holds 1 or 3 channels, got 5; use --form pixels"),
        (["--form", "png"], "--form takes one of pixels, jpeg, got 'png'"),
        (["--channels", "5"], "it has 3 channels, not 5"),
        (["--pixel-range", "5", "1"], "pixel_range must be two values"),
        (["--max-bad-files", "1"], "max_bad_files must lie in [0, 1), got 1"),
        (["--workers", "-1"], "workers must be 0 or more, got -1"),
        (["--side", "9999999"], "are wanted and"),
    ],
)
def test_wrong_settings_are_one_line_and_leave_nothing(capsys, tmp_path, photos, words, message):
    status, _, line = call(capsys, "pack", photos, tmp_path / "out", *words)
    assert status == 2 and line.startswith("pcae: ") and message in line
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_are_refused_and_left_alone(capsys, tmp_path, photos):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = snapshot(tmp_path) | snapshot(photos)
    for out, message in (
        (photos / "packed", "lies inside the data"),
        (photos, "lies inside the data"),
        (photos.parent, "holds 'photos' of another program"),
        (tmp_path / "full", "holds 'notes.txt' of another program"),
        (tmp_path / "file", "is no folder"),
        (tmp_path / "file" / "out", "cannot be written"),
        (Path("/proc/pcae"), "cannot be written"),
    ):
        status, _, line = call(capsys, "pack", photos, out, *TINY)
        assert status == 2 and message in line and line.startswith("pcae: out ")
    assert snapshot(tmp_path) | snapshot(photos) == before


def test_a_folder_without_permission_to_write_is_refused(capsys, tmp_path, photos, unprivileged):
    (tmp_path / "shut").mkdir(mode=0o555)
    with unprivileged(tmp_path):
        status, _, line = call(capsys, "pack", "sample", tmp_path / "shut" / "out", *TINY)
    assert status == 2 and "cannot be written: " in line


def test_an_empty_folder_is_taken_and_what_is_done_is_not_done_again(capsys, tmp_path, photos):
    (tmp_path / "out").mkdir()
    status, out, _ = call(capsys, "pack", photos, tmp_path / "out", *TINY, "--json")
    facts = json.loads(out)
    assert status == 0 and (facts["form"], facts["image_size"], facts["channels"]) == ("pixels", [28, 28], 3)
    assert {name: split["images"] for name, split in facts["splits"].items()} == {"train": 8, "test": 4}
    assert facts["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir() if path.name != HEADER)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    status, _, line = call(capsys, "pack", photos, tmp_path / "out", *TINY)
    assert status == 0 and line.startswith("8 train + 4 test images")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_another_packing_is_not_written_over(capsys, tmp_path, photos):
    call(capsys, "pack", photos, tmp_path / "out", *TINY)
    before = snapshot(tmp_path)
    for words, message in (
        ([photos, *TINY[:2], "30", "--workers", "0"], "packed with image_size = [28, 28], not [28, 30]"),
        ([photos, "--form", "jpeg"], "packed with form = pixels, not jpeg"),
        ([photos, *TINY, "--channels", "1"], "packed with channels = 3, not 1"),
        ([photos / "train", *TINY], "holds other images of the split"),
        ([photos, *TINY, "--split", "train"], "holds other images of the split test"),
    ):
        status, _, line = call(capsys, "pack", words[0], tmp_path / "out", *words[1:])
        assert status == 2 and message in line
    assert snapshot(tmp_path) == before


def test_too_many_bad_files_end_it_and_leave_nothing(capsys, tmp_path, photos):
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "a.png").write_bytes(b"torn")
    Image.new("RGB", (9, 9)).save(torn / "b.png")
    status, _, line = call(capsys, "pack", torn, tmp_path / "out", *TINY)
    assert status == 2 and "1 of 2 images cannot be read: " in line and "more than --max-bad-files 0.05 allows" in line
    assert {path.name for path in tmp_path.iterdir()} == {"torn"}


@contextlib.contextmanager
def files_of_at_most(size: int):
    """No file may grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_the_packing_goes_on_when_there_is_place(capsys, tmp_path, photos, monkeypatch):
    call(capsys, "pack", photos, tmp_path / "whole", *TINY)
    monkeypatch.setattr(chunks, "CHUNK", 2)
    with files_of_at_most(3 * 28 * 28 * 3):
        status, _, line = call(capsys, "pack", photos, tmp_path / "out", *TINY)
    assert status == 2 and line.startswith("pcae: out ") and "cannot be written: File too large" in line
    assert (tmp_path / "out" / "train.chunks-00000").read_bytes().count(b"\n") == 1
    assert call(capsys, "pack", photos, tmp_path / "out", *TINY)[0] == 0
    assert (tmp_path / "out" / "train.data").read_bytes() == (tmp_path / "whole" / "train.data").read_bytes()
    with files_of_at_most(100):
        status, _, _ = call(capsys, "pack", photos, tmp_path / "none", *TINY)
    assert status == 2 and not (tmp_path / "none").exists()


def test_a_disk_that_is_too_small_is_told_before_the_work(capsys, tmp_path, photos, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(packing_folder.shutil, "disk_usage", lambda path: usage(12 * 28 * 28 * 3 - 1))
    status, _, line = call(capsys, "pack", photos, tmp_path / "out", *TINY)
    assert status == 2 and "are wanted and" in line and not (tmp_path / "out").exists()
    monkeypatch.setattr(packing_folder.shutil, "disk_usage", lambda path: usage(12 * 28 * 28 * 3))
    assert call(capsys, "pack", photos, tmp_path / "out", *TINY)[0] == 0


KILLED = """
import os, signal, sys
from pcae.cli import main
from pcae.data.packed import chunks
chunks.CHUNK = 2
encode, seen = chunks.Pixels.encode, []
def die(self, planes):
    seen.append(1)
    if len(seen) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, planes)
chunks.Pixels.encode = die
main(sys.argv[1:])
"""
BUSY = "import fcntl, sys; fcntl.lockf(file := open(sys.argv[1], 'r+b'), fcntl.LOCK_EX); print(1, flush=True); input()"


@pytest.mark.slow
def test_a_process_killed_at_work_is_gone_on_from_but_by_one_at_a_time(capsys, tmp_path, photos):
    call(capsys, "pack", photos, tmp_path / "whole", *TINY)
    words = ["pack", str(photos), str(tmp_path / "out"), *TINY]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "out" / HEADER).exists()
    held = snapshot(tmp_path / "out")
    command = [sys.executable, "-c", BUSY, str(tmp_path / "out" / "packing.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"1\n"
        status, _, line = call(capsys, *words)
        other.communicate(b"\n")
    assert status == 2 and "is being packed by another process" in line and snapshot(tmp_path / "out") == held
    assert call(capsys, *words)[0] == 0
    names = [path.name for path in (tmp_path / "whole").iterdir()]
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    for name in set(names) - {HEADER}:  # chunks of other lengths
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_on_packed_pixels_is_the_run_on_the_files(capsys, tmp_path, photos):
    """To the last digit, where the files are as large as they are packed; and every verb takes the folder."""
    call(capsys, "pack", photos, tmp_path / "packed", *TINY)
    weights = []
    for data, name in ((photos, "files"), (tmp_path / "packed", "pixels")):
        words = ["--out", tmp_path / name, *SMALL, "--channels", "3", "--workers", "0"]
        assert call(capsys, "pretrain", data, *words)[0] == 0
        weights.append((tmp_path / name / "encoder.safetensors").read_bytes())
        found = call(capsys, "embed", data, "--weights", tmp_path / name, "--out", tmp_path / f"{name}.npy")
        assert found[0] == 0
    assert weights[0] == weights[1]
    assert np.array_equal(np.load(tmp_path / "files.npy"), np.load(tmp_path / "pixels.npy"))
    run = ["--weights", tmp_path / "pixels", "--device", "cpu"]
    status, out, _ = call(capsys, "probe", tmp_path / "packed", *run, "--k", "2", "--epochs", "1", "--json")
    assert status == 0 and json.loads(out)["images"]
    fine = ["--recipe", "finetune-small", "--batch-size", "4", "--steps", "1", "--out", tmp_path / "fine"]
    assert call(capsys, "finetune", tmp_path / "packed", *run, *fine)[0] == 0


@pytest.mark.parametrize("words", [TINY, ["--form", "jpeg", "--workers", "0"]], ids=["pixels", "jpeg"])
def test_check_data_reads_a_packed_folder_and_finds_damage(capsys, tmp_path, photos, words):
    call(capsys, "pack", photos, tmp_path / "out", *words)
    status, out, _ = call(capsys, "check-data", tmp_path / "out", "--json", "--workers", "0")
    assert status == 0 and json.loads(out)["images"] == {"train": 8, "validation": 4}
    assert json.loads(out)["sides"]["height"]["median"] == 28
    data = bytearray((tmp_path / "out" / "test.data").read_bytes())
    data[700] ^= 255
    (tmp_path / "out" / "test.data").write_bytes(data)
    status, _, line = call(capsys, "check-data", tmp_path / "out", "--workers", "0")
    assert status == 2 and "test.data' is damaged between bytes 0 and" in line


def test_a_model_of_packed_deep_pixels_reads_their_files_alike(capsys, tmp_path):
    """The values that were black and white when the images were packed are kept with the weights."""
    rng = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for index in range(8):
        Image.fromarray(rng.integers(0, 1024, (28, 28)).astype(np.uint16)).save(tmp_path / "deep" / f"{index}.png")
    words = [*TINY, "--channels", "1", "--pixel-range", "0", "1023"]
    assert call(capsys, "pack", tmp_path / "deep", tmp_path / "packed", *words)[0] == 0
    assert call(capsys, "pretrain", tmp_path / "packed", "--out", tmp_path / "run", *SMALL)[0] == 0
    found = []
    for data in ("packed", "deep"):
        out = tmp_path / f"{data}.npy"
        assert call(capsys, "embed", tmp_path / data, "--weights", tmp_path / "run", "--out", out)[0] == 0
        found.append(np.load(out))
    assert np.array_equal(*found) and len(found[0]) == 8
