"""Processes that end, and what the others make of it; none of them computes anything."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROCESS = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path

    from pcae.training import failure_detection as lost

    rank, size, folder, doing = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    place, go_on = folder / "place", folder / "go-on"
    lost.GRACE = 0.5

    def announce(said):
        (folder / "beside").write_text(said)
        (folder / "beside").rename(place)

    def wait_for(path):
        while not path.exists():
            time.sleep(0.01)

    def announced():
        wait_for(place)
        return place.read_text()

    try:
        with lost.watched(rank, size, announce, announced) as word:
            (folder / f"in-{rank}").touch()
            if doing == "busy":
                time.sleep(30)
            if doing == "exchanging":
                while not (folder / "broken").exists():
                    time.sleep(0.01)
                raise RuntimeError("the exchange broke off")
            wait_for(go_on)
    except lost.ProcessLost as error:
        print(error)
    """
)


def started(rank: int, size: int, folder: Path, doing: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROCESS, str(rank), str(size), str(folder), doing]
    environment = os.environ | {"MASTER_ADDR": "localhost"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


class Processes:
    """Processes that watch one another, each doing what is said."""

    def __init__(self, folder: Path, *doing: str, before_the_others: Callable[[], None] = lambda: None) -> None:
        self.folder, self.all = folder, []
        for rank, what in enumerate(doing):
            self.all.append(started(rank, len(doing), folder, what))
            if rank == 0:
                before_the_others()
        end = time.monotonic() + 30
        while len(list(folder.glob("in-*"))) < len(doing):
            assert time.monotonic() < end and all(process.poll() is None for process in self.all)
            time.sleep(0.01)

    def ends(self) -> list[tuple[int, str, str]]:
        """Exit status and words of all of them."""
        said = [process.communicate(timeout=20) for process in self.all]
        return [(process.returncode, *words) for process, words in zip(self.all, said, strict=True)]


@pytest.mark.parametrize("gone", [0, 1])
def test_the_others_of_one_that_is_killed_end_in_a_line_that_names_it(tmp_path, gone):
    processes = Processes(tmp_path, "busy", "busy", "busy")
    processes.all[gone].send_signal(signal.SIGKILL)
    for rank, (status, _, said) in enumerate(processes.ends()):
        if rank == gone:
            assert status == -signal.SIGKILL
        else:
            name = f"pcae (process {rank})" if rank else "pcae"
            assert status == 69 and said.startswith(f"{name}: process {gone} on ") and said.count("\n") == 1
            assert "goes on from the last checkpoint" in said


def test_an_exchange_that_broke_off_is_explained(tmp_path):
    processes = Processes(tmp_path, "exchanging", "busy")
    processes.all[1].send_signal(signal.SIGKILL)
    (tmp_path / "broken").touch()
    status, out, said = processes.ends()[0]
    assert (status, said) == (0, "") and out.startswith("process 1 on ")


@pytest.mark.slow
def test_an_error_of_ones_own_is_not_taken_for_the_loss_of_another_and_ends_the_others(tmp_path):
    processes = Processes(tmp_path, "exchanging", "busy")
    (tmp_path / "broken").touch()
    (status, out, said), other = processes.ends()
    assert status == 1 and not out and said.strip().endswith("RuntimeError: the exchange broke off")
    assert other[0] == 69 and "process 0 on " in other[2]


def test_what_an_earlier_start_announced_is_passed_over(tmp_path):
    with socket.create_server(("localhost", 0)) as gone:
        port = gone.getsockname()[1]
    (tmp_path / "place").write_text(f"0000 {port} localhost")
    late = started(1, 2, tmp_path, "waiting")
    time.sleep(0.5)
    assert late.poll() is None
    main = started(0, 2, tmp_path, "waiting")
    (tmp_path / "go-on").touch()
    assert [(*process.communicate(timeout=20), process.returncode) for process in (main, late)] == [("", "", 0)] * 2


def test_one_that_leaves_in_order_is_not_missed(tmp_path):
    processes = Processes(tmp_path, "waiting", "waiting", "waiting")
    (tmp_path / "go-on").touch()
    assert processes.ends() == [(0, "", "")] * 3


def test_one_that_stands_still_for_a_while_is_not_missed(tmp_path):
    processes = Processes(tmp_path, "waiting", "waiting")
    processes.all[0].send_signal(signal.SIGSTOP)
    time.sleep(2)
    processes.all[0].send_signal(signal.SIGCONT)
    (tmp_path / "go-on").touch()
    assert processes.ends() == [(0, "", "")] * 2


def test_a_stranger_is_not_taken_for_a_process(tmp_path):
    def call():
        while not (tmp_path / "place").exists():
            time.sleep(0.01)
        port = int((tmp_path / "place").read_text().split()[1])
        with socket.create_connection(("localhost", port)) as connection:
            connection.sendall(b"0000 1 elsewhere\n")
            assert not connection.recv(10)

    processes = Processes(tmp_path, "waiting", "waiting", before_the_others=call)
    (tmp_path / "go-on").touch()
    assert processes.ends() == [(0, "", "")] * 2
