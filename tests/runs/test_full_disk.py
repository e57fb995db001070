"""Disks that are full: one line that names the file, what was there is whole, and with room the run goes on."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pcae.cli import main
from pcae.data.packed.reading import HEADER
from pcae.runs.pretraining import PretrainingTask
from pcae.runs.run import TrainingRun
from pcae.training.append_files import Records
from pcae.training.checkpoint import Checkpoints, read
from pcae.training.logging import Journal, read_metrics
from tests.photographs import make_folder

TINY = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu", "--health-every", "0", "--log-every", "1",
    "--steps", "12", "--checkpoint-every", "5",
]  # fmt: skip


def words(out: Path, *more: str) -> list[str]:
    return ["pretrain", "sample", "--out", str(out), *TINY, *more]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    main(words(out))
    return out


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files may have so many bytes and no more: a write fails half-way, as on a full disk, for any user."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class LittleRoom:
    """Journal.note that leaves no room for more than ten bytes at step 8. size: of the file before.

    records: which file it is about.
    """

    def __init__(self, records: Callable[[Journal], Records]) -> None:
        self.records, self.original, self.size = records, Journal.note, 0

    def note(self) -> Callable[[Journal, dict], None]:
        def note(journal: Journal, record: dict) -> None:
            if record["step"] != 8:
                return self.original(journal, record)
            self.size = self.records(journal).path.stat().st_size
            with room_for(self.size + 10):
                return self.original(journal, record)

        return note


def refused(capsys, command: list[str]) -> str:
    """The line that a command is refused with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("pcae: ")
    return last


def assert_nothing_torn(folder: Path) -> None:
    assert [path for path in folder.rglob("*") if path.name.endswith(".writing")] == []
    metrics = folder / "metrics.jsonl"
    assert all(json.loads(line) for line in metrics.read_text().splitlines()) and metrics.read_bytes().endswith(b"\n")


def assert_equal(one: Path, two: Path) -> None:
    final, expected = (read(out / "checkpoints" / "step-00000012.safetensors")[0] for out in (one, two))
    assert all(torch.equal(value, expected[name]) for name, value in final.items())
    assert [line["step"] for line in read_metrics(one)] == list(range(1, 13))


def test_a_checkpoint_without_room_ends_the_run_and_the_one_before_is_whole(tmp_path, capsys, monkeypatch, unbroken):
    out, save = tmp_path / "run", TrainingRun.save
    size = (unbroken / "checkpoints" / "step-00000012.safetensors").stat().st_size

    def save_in_little_room(self):
        with room_for(size // 2 if self.progress.step == 10 else size * 2):
            save(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "save", save_in_little_room)
        said = refused(capsys, words(out))
    assert f"{out / 'checkpoints' / 'step-00000010.safetensors'} cannot be written" in said and "too large" in said
    assert Checkpoints(out / "checkpoints", 2).whole() == (out / "checkpoints" / "step-00000005.safetensors", [])
    assert_nothing_torn(out)
    main(words(out))
    assert_equal(out, unbroken)


def test_numbers_that_have_no_room_end_the_run_and_are_cut_off(tmp_path, capsys, monkeypatch, unbroken):
    out, path = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    before = LittleRoom(lambda journal: journal.file)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", before.note())
        said = refused(capsys, words(out))
    assert f"{path} cannot be written: File too large" in said
    assert path.stat().st_size == before.size
    assert_nothing_torn(out)
    main(words(out))
    assert_equal(out, unbroken)


def test_a_tracker_that_has_no_room_is_cut_off_and_the_run_goes_on(tmp_path, capsys, monkeypatch, unbroken):
    out = tmp_path / "run"
    before = LittleRoom(lambda journal: journal.audience.trackers["tensorboard"].board.file)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", before.note())
        main(words(out))
    (path,) = (out / "tensorboard").iterdir()
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count(f"tensorboard takes nothing more of this run: {path} cannot be written: File too large") == 1
    assert path.stat().st_size == before.size
    assert_equal(out, unbroken)


@pytest.mark.parametrize(
    "owner, method, name",
    [
        (PretrainingTask, "save_weights", "encoder.safetensors"),
        (TrainingRun, "write_summary", "summary.json"),
    ],
)
def test_what_is_written_last_may_have_no_room_either(tmp_path, capsys, monkeypatch, unbroken, owner, method, name):
    out, write = tmp_path / "run", getattr(owner, method)

    def write_in_little_room(*arguments):
        with room_for(100):
            write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, write_in_little_room)
        said = refused(capsys, words(out))
    assert f"{out / name} cannot be written" in said and "too large" in said and not (out / name).exists()
    assert_nothing_torn(out)
    main(words(out))
    assert_equal(out, unbroken)
    assert (out / "encoder.safetensors").read_bytes() == (unbroken / "encoder.safetensors").read_bytes()
    assert json.loads((out / "summary.json").read_text())["steps"] == 12


@pytest.mark.page
@pytest.mark.slow
def test_a_page_that_has_no_room_leaves_the_one_before(tmp_path, capsys, unbroken):
    run = shutil.copytree(unbroken, tmp_path / "run")
    main(["report", str(run)])
    page = (run / "report.html").read_bytes()
    with room_for(1000):
        said = refused(capsys, ["report", str(run)])
    assert f"{run / 'report.html'} cannot be written: File too large" in said
    assert (run / "report.html").read_bytes() == page
    assert_nothing_torn(run)


@pytest.mark.parametrize("form", ["pixels", "jpeg"])
def test_a_packing_that_has_no_room_goes_on_with_it(tmp_path, capsys, form):
    make_folder(tmp_path / "photos", 40)
    pack, out = ["pack", str(tmp_path / "photos"), "--form", form, "--side", "32"], tmp_path / "packed"
    main([*pack, str(tmp_path / "unbroken")])
    whole = {path.name: path.read_bytes() for path in (tmp_path / "unbroken").iterdir()}
    with room_for(len(whole["train.data"]) // 2):
        said = refused(capsys, [*pack, str(out)])
    assert f"out {str(out)!r} cannot be written: File too large" in said
    assert not (out / HEADER).exists()
    main([*pack, str(out)])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole


class SmallDisk:
    """A file system of so many KiB in memory, which this process and those that it enters alone see."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        mount = f"mount -t tmpfs -o size={size}k none {folder} && echo mounted && exec sleep 600"
        self.holder = subprocess.Popen(["unshare", "-Urm", "sh", "-c", mount], stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout and self.holder.stdout.readline() == "mounted\n"
        self.seen = Path(f"/proc/{self.holder.pid}/root") / folder.relative_to("/")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self.holder.pid), "-U", "-m", "--preserve-credentials", f"--wd={Path.cwd()}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run([*enter, *command], capture_output=True, text=True, env=environment, check=False)

    def grow(self, size: int) -> None:
        assert self.run("mount", "-o", f"remount,size={size}k", str(self.folder)).returncode == 0


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(folder, size)
    try:
        yield disk
    finally:
        disk.holder.kill()
        disk.holder.communicate()


def mounts_are_allowed() -> bool:
    """Containers often do not allow them; the other tests need none."""
    tried = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(tried, capture_output=True, check=False).returncode == 0


if mounts_are_allowed():

    @pytest.mark.slow
    def test_a_run_fills_its_disk_and_goes_on_when_there_is_room(tmp_path, unbroken):
        pcae = [sys.executable, "-m", "pcae", *words(tmp_path / "disk" / "run", "--keep-checkpoints", "99")]
        (tmp_path / "disk").mkdir()
        with small_disk(tmp_path / "disk", 900) as disk:
            done, out = disk.run(*pcae), disk.seen / "run"
            last = done.stderr.strip().splitlines()[-1]
            file = tmp_path / "disk" / "run" / "checkpoints" / "step-00000010.safetensors"
            assert done.returncode == 2 and last.startswith(f"pcae: {file} cannot be written")
            assert "No space left on device" in last
            before = (out / "checkpoints" / "step-00000005.safetensors", [])
            assert Checkpoints(out / "checkpoints", 2).whole() == before
            assert_nothing_torn(out)
            assert disk.run(*pcae).returncode == 2  # no room yet
            assert Checkpoints(out / "checkpoints", 2).whole() == before
            disk.grow(20_000)
            done = disk.run(*pcae)
            assert done.returncode == 0, done.stderr
            assert "going on from step 5" in done.stderr
            assert_equal(out, unbroken)
