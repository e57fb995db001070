"""A web server for one person on this machine: who may ask, and what every reply says of itself; it knows no images."""

import errno
import hmac
import json
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HERE = "127.0.0.1"
MOST_BYTES = 64 * 2**20
"""What a request may bring along, at most."""
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
OF_PAGE = "; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src 'self' data:; connect-src 'self'"
"""What a page may do beside: its own script and style, and requests of its own server."""
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Request:
    """What is asked for. words: the parts of the path behind the token."""

    method: str
    words: tuple[str, ...]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered. kind: its media type. nonce: of a page, the word that its own script and style carry."""

    content: bytes
    kind: str
    status: int = 200
    nonce: str = ""


def in_json(value: Any, status: int = 200) -> Reply:
    """A value as JSON."""
    return Reply(json.dumps(value).encode(), "application/json", status)


def fault(status: int, reason: str) -> Reply:
    """Why there is no answer, in one line."""
    return in_json({"error": reason}, status)


class Handler(BaseHTTPRequestHandler):
    """One request. Without the token, and from a page of another server, it is refused before anything is read."""

    timeout = 60
    server_version, sys_version = "pcae", ""

    def do_GET(self) -> None:
        """Read."""
        self.send(self.reply())

    def do_POST(self) -> None:
        """Take in a picture, or write the list."""
        self.send(self.reply())

    def reply(self) -> Reply:
        """The answer of the server, or why there is none."""
        server = self.server
        assert isinstance(server, LocalServer)
        before, token, *words = self.path.split("/") if "/" in self.path else ("", "")
        known = hmac.compare_digest(token.encode("latin-1"), server.token.encode("latin-1"))
        if not known or before or not self.is_from_here(server.hosts):
            return fault(403, "forbidden: open the address that pcae explore printed")
        body = self.body() if self.command == "POST" else b""
        if isinstance(body, Reply):
            return body
        try:
            return server.answer(Request(self.command, tuple(words), body))
        except ValueError as error:
            return fault(400, str(error))

    def is_from_here(self, hosts: set[str]) -> bool:
        """Whether the request names this server, and comes from its own page if from any."""
        named, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        return len(named) == 1 and named[0] in hosts and all(origin in map(as_origin, hosts) for origin in origins)

    def body(self) -> bytes | Reply:
        """What the request brings along, or why it is not read."""
        said = self.headers.get("Content-Length", "")
        if not (said.isascii() and said.isdecimal()) or "Transfer-Encoding" in self.headers:
            return fault(411, "say by Content-Length how many bytes come")
        if len(said) > 12 or int(said) > MOST_BYTES:
            return fault(413, f"{said[:20]} bytes are too many; at most {MOST_BYTES:,} are taken")
        content = self.rfile.read(int(said))
        return content if len(content) == int(said) else fault(400, f"{len(content)} of {said} bytes came")

    def send(self, reply: Reply) -> None:
        """Write a reply with its headers."""
        self.send_response(reply.status)
        policy = NOTHING + (OF_PAGE.format(reply.nonce) if reply.nonce else "")
        said = {"Content-Type": reply.kind, "Content-Length": len(reply.content), "Content-Security-Policy": policy}
        for name, value in (said | HEADERS).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the token stands in every line."""


def as_origin(host: str) -> str:
    """How a browser names the page of a host."""
    return f"http://{host}"


class LocalServer(ThreadingHTTPServer):
    """Listens on this machine alone. token: what every address begins with, new each time. hosts: its own names.

    Raises ValueError for a port that cannot be had. Requests wait until `serve`.
    """

    allow_reuse_address = os.name == "posix"  # elsewhere another program could take the same port

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        try:
            super().__init__((HERE, port), Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is used by another program" if taken else f"cannot be had ({error.strerror})"
            raise ValueError(f"port {port} {why}; give another --port, or 0 for any free one") from error
        names = [f"{name}:{self.server_port}" for name in (HERE, "localhost")]
        self.hosts = {*names, *((HERE, "localhost") if self.server_port == 80 else ())}  # which browsers leave out
        self.answer: Callable[[Request], Reply] = lambda _: fault(503, "not ready yet")

    @property
    def address(self) -> str:
        """What is opened in a browser."""
        return f"http://{HERE}:{self.server_port}/{self.token}/"

    def serve(self, answer: Callable[[Request], Reply]) -> None:
        """Answer until interrupted (Ctrl-C). answer: of a request that may ask; its ValueErrors are told."""
        self.answer = answer
        with suppress(KeyboardInterrupt):
            self.serve_forever()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but not that a browser left before its answer came."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)
