"""A packed folder is the same to the byte whoever made it: any number of processes, killed at any moment."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcae.cli import main
from pcae.data.images import open_images
from pcae.data.packed import chunks
from pcae.data.packed.reading import BAD_FILES, verify
from pcae.sharing import segments
from tests.processes import Started, ended, succeed, together

FORMS = {"pixels": ["--side", "16"], "jpeg": ["--form", "jpeg", "--side", "16"]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """41 training and 7 held-out pictures of two classes, of which two cannot be read."""
    root, noise = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(48):
        folder = root / ("train" if number < 41 else "val") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(256, size=(20, 24, 3), dtype=np.uint8)).save(folder / f"{number:02d}.png")
    for name in ("a/06", "b/39"):
        (root / "train" / f"{name}.png").write_bytes(b"nothing")
    return root


@pytest.fixture(scope="module", params=FORMS)
def alone(photos, tmp_path_factory, request) -> tuple[list[str], dict[str, bytes]]:
    """The words that pack, and the folder that one process makes in one go."""
    out = tmp_path_factory.mktemp("alone") / "out"
    words = ["pack", str(photos), *FORMS[request.param], "--workers", "0"]
    succeed(*packing(words, out, 1))
    return words, contents(out)


def packing(words: list[str], out: Path, processes: int) -> list[Started]:
    return together(["tests.sharing.packer", *words[:2], str(out), *words[2:]], processes)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_segments_joined_are_the_images_in_order(photos, alone, tmp_path, monkeypatch):
    """Against a packing whose split is one segment of one chunk: all but the checksums, which are of other pieces."""
    words, whole = alone
    main([*words[:2], str(tmp_path / "out"), *words[2:]])
    found = contents(tmp_path / "out")
    assert found.keys() == whole.keys()
    assert [name for name in found if found[name] != whole[name]] == ["packed.json"]
    (tmp_path / "again").mkdir()
    for name, content in whole.items():
        (tmp_path / "again" / name).write_bytes(content)
    verify(str(tmp_path / "again"))
    assert len(json.loads(whole["packed.json"])["files"]["train.data"]) == 21
    assert [len(open_images(tmp_path / "again", split)) for split in ("train", "test")] == [39, 7]
    assert whole[BAD_FILES].count(b"\n") == 2


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_pack_as_one(alone, tmp_path, processes):
    words, whole = alone
    said = succeed(*packing(words, tmp_path / "out", processes))
    assert contents(tmp_path / "out") == whole
    assert "2 could not be read and were left out" in said[0] and not any(said[1:])
    assert not any(succeed(*packing(words, tmp_path / "out", processes))[1:])  # it is done
    assert contents(tmp_path / "out") == whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_it_is_gone_on_from_by_another_number(alone, tmp_path, seed):
    words, whole = alone
    chance, out = random.Random(seed), tmp_path / "out"
    for _ in range(4):
        processes = chance.choice((1, 2, 3))
        before = packed(out)
        started = packing(words, out, processes)
        while packed(out) == before and any(process.returncode is None for process in started):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        for process in chance.sample(started, processes):
            process.send_signal(signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.1))
        for status, said in ended(*started):
            assert status in (0, 2, -9) and "Traceback" not in said and "damaged" not in said, said
    succeed(*packing(words, out, chance.choice((1, 2, 3))))
    assert contents(out) == whole


def packed(out: Path) -> int:
    """Chunks that the logs have."""
    found = 0
    for path in out.glob("*.chunks-*"):
        with suppress(FileNotFoundError):  # they go when all is packed
            found += path.read_bytes().count(b"\n")
    return found


def wait_for_segments(out: Path, started: list[Started], begun: int = 1) -> None:
    """Until so many segments have a chunk, or all processes have ended."""
    while sum(path.stat().st_size > 0 for path in out.glob("*.chunks-*")) < begun:
        if all(process.returncode is not None for process in started):
            return
        time.sleep(0.02)


class Killed(BaseException):
    """What ends a packing at once."""


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    monkeypatch.setattr(segments, "LEAST", 1)
    monkeypatch.setattr(segments, "MOST", 2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("step", ["replace", "copyfileobj", "to_disk", "unlink"])
def test_an_end_while_segments_are_joined_is_gone_on_from(alone, tmp_path, monkeypatch, step):
    """Before each step of joining, and in the middle of its bytes."""
    words, whole = alone
    out, deaths = tmp_path / "out", 0
    home = {"replace": Path, "unlink": Path, "copyfileobj": shutil, "to_disk": segments}[step]
    for calls in (1, 2, 3, 2, 1):
        with monkeypatch.context() as patch:
            patch.setattr(home, step, dying(getattr(home, step), calls))
            try:
                main([*words[:2], str(out), *words[2:]])
            except Killed:
                deaths += 1
    main([*words[:2], str(out), *words[2:]])
    assert contents(out) == whole and deaths >= 2


def dying(real: Callable, calls: int) -> Callable:
    """A function of files that ends the packing at so many calls for .data."""
    left = [None] * calls

    def call(*given, **more):
        if ".data" in str(getattr(given[0], "name", given[0])):
            left.pop()
            if not left:
                if len(given) == 3:  # from, to and the size of a piece
                    given[1].write(given[0].read(7))
                    given[1].flush()
                raise Killed
        return real(*given, **more)

    return call


@pytest.mark.usefixtures("small")
def test_a_file_that_is_damaged_while_segments_are_joined_is_named(alone, tmp_path, monkeypatch, capsys):
    words, _ = alone
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(segments, "append", dying(segments.append, 3))
        main([*words[:2], str(out), *words[2:]])
    assert {path.name for path in out.glob("train.data*")} >= {"train.data", "train.data-00003"}
    for path, harm in ((out / "train.data", -1), (out / "train.data-00004", 1)):
        content = path.read_bytes()
        path.write_bytes(content[:harm] if harm < 0 else content + b"more")
        with pytest.raises(SystemExit) as stop:
            main([*words[:2], str(out), *words[2:]])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and f"packed file {str(path)!r} is damaged; remove {str(out)!r} and" in said
        path.write_bytes(content)


def test_too_many_bad_files_of_all_processes_end_it(photos, tmp_path):
    """Two of 41: more than a hundredth, though one process alone may have seen but one."""
    words = ["pack", str(photos), *FORMS["pixels"], "--workers", "0", "--max-bad-files", "0.03"]
    done = ended(*packing(words, tmp_path / "out", 2))
    assert all(status == 2 and "Traceback" not in said for status, said in done), done
    assert all("2 of 41 images cannot be read: " in said for _, said in done), done
    assert not (tmp_path / "out" / "packed.json").exists()


def test_a_full_disk_in_one_process_ends_all_in_one_line_and_what_is_there_stays(photos, tmp_path):
    """A segment's file is a folder: it cannot be written."""
    out = tmp_path / "out"
    words = ["pack", str(photos), *FORMS["pixels"], "--workers", "0"]
    started = packing(words, out, 2)
    wait_for_segments(out, started)
    (out / "test.data-00001").mkdir()
    done = ended(*started)
    assert all(status == 2 and "cannot be written: Is a directory" in said for status, said in done), done
    assert all(len(said.strip().splitlines()) == 1 for _, said in done), done
    (out / "test.data-00001").rmdir()
    succeed(*packing(words, out, 1))
    verify(str(out))


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_packing_is_kept_out_of_the_folder_while_any_process_of_the_first_lives(photos, tmp_path, killed):
    out = tmp_path / "out"
    words = ["pack", str(photos), *FORMS["pixels"], "--workers", "0"]
    first = packing(words, out, 2)
    wait_for_segments(out, first, 2)
    first[1].send_signal(signal.SIGSTOP)
    first[0].send_signal(signal.SIGKILL if killed else signal.SIGSTOP)
    second = ended(*packing(words, out, 2))
    assert all(status == 2 and "is being packed by another process" in said for status, said in second), second
    for process in first:
        process.send_signal(signal.SIGCONT)
    if killed:
        _, (status, said) = ended(*first)
        assert status == 2 and "another process of the run is gone" in said, said
        first = packing(words, out, 1)
    succeed(*first)
    verify(str(out))


def test_a_packing_that_an_earlier_version_began_is_refused(alone, tmp_path, capsys):
    words, whole = alone
    header = json.loads(whole["packed.json"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "packing.json").write_text(json.dumps({name: header[name] for name in ("settings", "source")}))
    with pytest.raises(SystemExit):
        main([*words[:2], str(tmp_path / "out"), *words[2:]])
    assert "was begun by an earlier version, in other files; remove the folder" in capsys.readouterr().err
