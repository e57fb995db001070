"""A process that is gone is noticed by the others, which end too instead of waiting for it.

Each process has a connection to the main one. The system closes it when a process ends, however it ends, and breaks it
off half a minute after a machine or its network went away. So nothing is ever noticed of one that is only busy.
"""

import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast
from weakref import WeakSet

from pcae.training.interruption import Interrupted

STATUS = 69
"""Exit status of a run that lost a process: sysexits' EX_UNAVAILABLE."""
NEWS = 3.0
"""Seconds in which it becomes known why an exchange broke off."""
GRACE = 10.0
"""Seconds for this process to end by itself, which it does not while an exchange waits for one that is gone."""
REACH = 60.0
"""Seconds to connect in."""
HELLO = 5.0
"""Seconds in which a process that has connected says who it is."""
SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""After 10 + 4 x 5 seconds without an answer of the other machine a connection counts as broken off."""
AGAIN = 0.1
"""Seconds until what is announced is looked at again."""
GOODBYE = "goodbye"

Others = dict[socket.socket, tuple[int, str]]
"""Rank and host of other processes, by the connection to each."""


class ProcessLost(RuntimeError):
    """Another process of the run is gone; the same command goes on from the last checkpoint."""

    def __init__(self, rank: int, host: str) -> None:
        super().__init__(
            f"process {rank} on {host} is gone (ended by an error, killed, or its machine lost), so this one ends too; "
            "the same command goes on from the last checkpoint"
        )


class Watch:
    """The connections to other processes, and a thread that waits for their end."""

    def __init__(self, rank: int, others: Others) -> None:
        self.rank, self.others = rank, others
        self.lost: ProcessLost | None = None
        self.told, self.over = threading.Event(), threading.Event()
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        WATCHES.add(self)
        self.thread.start()

    def listen(self) -> None:
        """Wait until another process is gone or this watch is over."""
        with selectors.DefaultSelector() as selector:
            for connection in (self.woken, *self.others):
                selector.register(connection, selectors.EVENT_READ)
            while not self.over.is_set():
                for key, _ in selector.select():
                    connection = cast(socket.socket, key.fileobj)
                    if connection in self.others and not self.hear(connection):
                        selector.unregister(connection)
                    if self.lost:
                        return self.end()

    def hear(self, connection: socket.socket) -> bool:
        """Take what a connection says; whether it says more."""
        try:
            said = connection.recv(1024).decode()
        except OSError:  # broken off
            said = ""
        if said.strip() == GOODBYE:
            return False
        rank, host = said.strip().split(" ", 1) if said else self.others[connection]
        self.lost = ProcessLost(int(rank), host)
        if self.rank == 0:
            for other in self.others:
                send(other, f"{rank} {host}\n")
        self.told.set()
        return False

    def end(self) -> None:
        """End this process, if it does not by itself."""
        if not self.over.wait(GRACE):
            sys.stderr.write(f"pcae{f' (process {self.rank})' if self.rank else ''}: {self.lost}\n")
            sys.stderr.flush()
            os._exit(STATUS)

    def leave(self, orderly: bool) -> None:
        """Watch no longer; the others only take it for an end in order when they are told so."""
        self.over.set()
        if orderly:
            for other in self.others:
                send(other, f"{GOODBYE}\n")
        self.wake.send(b".")
        self.thread.join()
        self.close()

    def close(self) -> None:
        """Close this process's ends."""
        for connection in (self.wake, self.woken, *self.others):
            connection.close()


WATCHES: WeakSet[Watch] = WeakSet()
"""The watches of this process; a process that it forks to read images would hold their connections open."""
os.register_at_fork(after_in_child=lambda: [watch.close() for watch in WATCHES])


def send(connection: socket.socket, text: str) -> None:
    """Say something to a process that may be gone."""
    with suppress(OSError):
        connection.sendall(text.encode())


@contextmanager
def watched(rank: int, size: int, announce: Callable[[str], object], announced: Callable[[], str]) -> Iterator[str]:
    """Watch `size` processes, of which this is number `rank`, meanwhile; raises Lost when one of them is gone.

    Yields a word that these processes share, and those of an earlier start did not. announce: in the main process,
    tells the others where it is to be reached. announced: waits for that; it may be an earlier start's.
    """
    others, word = connect_others(size, announce) if rank == 0 else connect_main(rank, announced)
    watch, orderly = Watch(rank, others), False
    try:
        yield word
        orderly = True
    except Interrupted:
        orderly = True
        raise
    except RuntimeError as error:
        if watch.told.wait(NEWS) and watch.lost:
            raise watch.lost from error
        raise
    finally:
        watch.leave(orderly)


def connect_others(size: int, announce: Callable[[str], object]) -> tuple[Others, str]:
    """The main process's connections to all others, and the word. Raises ValueError when they do not come."""
    word, others = secrets.token_hex(16), {}
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    with socket.create_server(("", 0), family=family, backlog=size, dualstack_ipv6=both) as server:
        server.settimeout(REACH)
        announce(f"{word} {server.getsockname()[1]} {socket.gethostname()}")
        while len(others) < size - 1:
            try:
                connection = server.accept()[0]
            except TimeoutError as error:
                raise ValueError(f"{size - 1 - len(others)} of {size} processes cannot reach process 0") from error
            said = exchange(connection, "", HELLO).split()
            if said[:1] == [word]:
                others[connection] = (int(said[1]), said[2])
                send(connection, f"{word}\n")
            else:  # a stranger
                connection.close()
    return others, word


def connect_main(rank: int, announced: Callable[[], str]) -> tuple[Others, str]:
    """The connection to the main process, and the word. Raises ValueError when it cannot be reached."""
    end, host = time.monotonic() + REACH, socket.gethostname()
    while True:
        word, port, host = announced().split()
        for address in (os.environ["MASTER_ADDR"], host):  # the former may be another machine's that torchrun meets on
            with suppress(OSError):
                connection = socket.create_connection((address, int(port)), REACH)
                if exchange(connection, f"{word} {rank} {host}\n", REACH).strip() == word:
                    return {connection: (0, host)}, word
                connection.close()
        if time.monotonic() > end:
            raise ValueError(f"process {rank} on {host} cannot reach process 0 on {host}, port {port}")
        time.sleep(AGAIN)


def exchange(connection: socket.socket, text: str, seconds: float) -> str:
    """Say something and hear the answer, a line; from then on the connection waits for ever, and notices a silence."""
    connection.settimeout(seconds)
    send(connection, text)
    answer = b""
    with suppress(OSError):
        while not answer.endswith(b"\n") and (more := connection.recv(1024)):
            answer += more
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in SILENCE.items():
        if option := getattr(socket, name, None):  # systems differ in which they let a program choose
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return answer.decode(errors="replace")
