"""Servers on this machine that tests read from: of files over HTTP, with faults on demand, and a store like S3."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


class Files(BaseHTTPRequestHandler):
    """Files of a folder by ranges. What stands in the server's `faults` happens to the next requests for content."""

    def do_HEAD(self) -> None:
        self.answer(with_content=False)

    def do_GET(self) -> None:
        self.answer(with_content=True)

    def answer(self, with_content: bool) -> None:
        server = self.server
        assert isinstance(server, FileServer)
        path = server.root / self.path.lstrip("/")
        server.asked += with_content
        fault = server.always or (server.faults.pop(0) if server.faults and with_content else None)
        if server.every and with_content and server.asked % server.every == 0:
            fault = 503
        if isinstance(fault, int) or not path.is_file():
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        content, asked = path.read_bytes(), self.headers.get("Range")
        size = len(content)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            content = content[int(first) : int(last) + 1]
            server.ranges.append((self.path, int(first), len(content)))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class FileServer(ThreadingHTTPServer):
    """Where the files are, the faults to come, one that always is, and the ranges that were asked for.

    every: of so many requests for content, one is not answered.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Files)
        self.root, self.always, self.asked, self.every = root, None, 0, 0
        self.faults: list[int | str] = []
        self.ranges: list[tuple[str, int, int]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """A reader that goes away is none of ours."""


class Plain(SimpleHTTPRequestHandler):
    """Python's own server of files, which knows no ranges."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def http_files(root: Path) -> Iterator[FileServer]:
    server = FileServer(root)
    with running(server):
        yield server


@contextmanager
def http_without_ranges(root: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Plain(*args, directory=str(root)))
    with running(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


class Relay(BaseHTTPRequestHandler):
    """Hands requests on to a store, but for one in `every` reads, which it says it has no time for."""

    def hand_on(self) -> None:
        server = self.server
        assert isinstance(server, Relays)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.asked += self.command == "GET"
        if self.command == "GET" and server.asked % server.every == 0:
            server.refused += 1
            self.send_error(503)
            return
        link = HTTPConnection(server.store)
        link.request(self.command, self.path, content, dict(self.headers))
        answer = link.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = hand_on

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Relays(ThreadingHTTPServer):
    """Between readers and a store that speaks HTTP. refused: how many reads were not handed on."""

    def __init__(self, store: str, every: int) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.store, self.every, self.asked, self.refused = store.removeprefix("http://"), every, 0, 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def failing(store: str, every: int) -> Iterator[Relays]:
    """A store that fails one read in so many."""
    server = Relays(store, every)
    with running(server):
        yield server


@contextmanager
def s3_store() -> Iterator[dict[str, str]]:
    """A store that speaks S3, in a process of its own; the environment by which it is found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.kill()
        process.wait()
