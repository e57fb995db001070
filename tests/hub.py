"""A stand-in for the Hugging Face Hub on this machine: the few addresses by which its client reads a model."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import running

COMMIT = "c0ffee" + "0" * 34


class Requests(BaseHTTPRequestHandler):
    """GET and HEAD of repositories: what they are, their files, the content of one."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        server, parts = self.server, urlsplit(self.path).path.strip("/").split("/")
        assert isinstance(server, Hub)
        about = parts[:2] == ["api", "models"]
        name, more = "/".join(parts[2:4] if about else parts[:2]), parts[4:] if about else parts[2:]
        if name not in server.folders or (len(more) > 1 and more[1] not in {"main", "v1", COMMIT}):
            missing = "RevisionNotFound" if name in server.folders else "RepoNotFound"
            return self.reply(404, b"", {"X-Error-Code": missing})
        files = [path for path in server.folders[name].rglob("*") if path.is_file()]
        if about and more[:1] == ["tree"]:
            listed = [{"type": "file", **described(path, server.folders[name])} for path in files]
            return self.reply(200, json.dumps(listed).encode())
        if about:
            return self.reply(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())
        path = server.folders[name] / "/".join(more[2:])
        if not path.is_file():
            return self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        if self.command == "GET":
            server.fetched.append(path.name)
        found = described(path, server.folders[name])
        return self.reply(200, path.read_bytes(), {"X-Repo-Commit": COMMIT, "ETag": f'"{found["oid"]}"'})

    def reply(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def described(path: Path, root: Path) -> dict[str, str | int]:
    """A file as the Hub lists it."""
    content = path.read_bytes()
    return {"path": path.relative_to(root).as_posix(), "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


class Hub(ThreadingHTTPServer):
    """The folders of its repositories, by name, and the names of the files that were fetched."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.folders: dict[str, Path] = {}
        self.fetched: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def hub() -> Iterator[Hub]:
    server = Hub()
    with running(server):
        yield server
