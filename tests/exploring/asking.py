"""A server that answers in a thread, and requests to it by http.client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from threading import Thread

from pcae.exploring.server import LocalServer, Reply, Request


@contextmanager
def serving(answer: Callable[[Request], Reply]) -> Iterator[LocalServer]:
    """A server on any free port."""
    with LocalServer(0) as server:
        thread = Thread(target=server.serve, args=(answer,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: LocalServer, path: str = "", method: str = "GET", **options) -> tuple[HTTPResponse, bytes]:
    """The reply to a request behind the token; options: http.client's."""
    return ask_at(server, f"/{server.token}/{path}", method, **options)


def ask_at(server: LocalServer, path: str, method: str = "GET", **options) -> tuple[HTTPResponse, bytes]:
    """The reply to a request."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, **options)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply, content
