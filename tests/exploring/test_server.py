"""Who may ask the page's server: this machine, by the address that was printed, from the server's own page."""

import hmac
import json
import re
import socket
from http.client import HTTPConnection

import pytest

from pcae.exploring import server as module
from pcae.exploring.server import MOST_BYTES, LocalServer, Reply, Request
from tests.exploring.asking import ask, ask_at, serving

ASKED: list[Request] = []


def answer(request: Request) -> Reply:
    ASKED.append(request)
    if request.words == ("wrong",):
        raise ValueError("it is wrong")
    return Reply(request.body or b"found", "text/plain", nonce="abc" if request.words == ("page",) else "")


@pytest.fixture(scope="module")
def local():
    with serving(answer) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_asked():
    ASKED.clear()


def test_it_listens_on_127_0_0_1_alone(local):
    assert local.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", local.server_port), timeout=5)


def test_the_address_has_a_token_that_is_new_each_time(local):
    with LocalServer(0) as other:
        assert other.token != local.token and len(other.token) >= 43  # 256 bits in base 64
    assert local.address == f"http://127.0.0.1:{local.server_port}/{local.token}/"
    reply, content = ask(local, "near/3")
    assert (reply.status, content) == (200, b"found") and ASKED.pop() == Request("GET", ("near", "3"), b"")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "", "*", "/images/0", "/{wrong}/", "/{token}x/", "/{short}/", "/x/{token}/"])
def test_without_the_token_nothing_is_answered(local, method, path):
    wrong = "A" * len(local.token)
    asked = path.format(wrong=wrong, token=local.token, short=local.token[:-1])
    reply, content = ask_at(local, asked, method, body=b"3" if method == "POST" else None)
    assert reply.status == 403 and "forbidden" in json.loads(content)["error"] and not ASKED
    assert local.token.encode() not in content


def test_tokens_are_compared_in_constant_time(local, monkeypatch):
    compared, digest = [], hmac.compare_digest

    def compare(one, other):
        compared.append((one, other))
        return digest(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    for path in ("/", "/x/", f"/{local.token}/"):
        ask_at(local, path)
    with socket.create_connection(("127.0.0.1", local.server_port)) as line:
        line.sendall(f"GET /\xe9/ HTTP/1.0\r\nHost: 127.0.0.1:{local.server_port}\r\n\r\n".encode("latin-1"))
        assert b" 403 " in line.recv(4096)
    assert [one for one, _ in compared] == [b"", b"x", local.token.encode(), b"\xe9"]
    assert {other for _, other in compared} == {local.token.encode()}


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_its_own_names_are_answered(local, host, origin):
    named = {"Host": host.format(port=local.server_port)}
    named |= {"Origin": origin.format(port=local.server_port)} if origin else {}
    assert ask(local, headers=named)[0].status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1:{port}.evil.example", ""]
)
def test_another_host_is_refused(local, host):
    """As a name of a stranger is that he has made to lead to 127.0.0.1."""
    assert ask(local, headers={"Host": host.format(port=local.server_port)})[0].status == 403 and not ASKED


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://127.0.0.1", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(local, origin, method):
    named = {"Origin": origin.format(port=local.server_port)}
    assert ask(local, method=method, headers=named)[0].status == 403 and not ASKED


def test_no_host_and_two_hosts_are_refused(local):
    for hosts in ([], ["127.0.0.1", "127.0.0.1"]):
        connection = HTTPConnection("127.0.0.1", local.server_port, timeout=30)
        connection.putrequest("GET", f"/{local.token}/", skip_host=True)
        for host in hosts:
            connection.putheader("Host", f"{host}:{local.server_port}")
        connection.endheaders()
        assert connection.getresponse().status == 403
        connection.close()
    assert not ASKED


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_not_known(local, method):
    assert ask(local, method=method)[0].status == 501 and not ASKED


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({"Content-Length": str(MOST_BYTES + 1)}, 413),
        ({"Content-Length": "9" * 5000}, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "many"}, 411),
        ({}, 411),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Transfer-Encoding": "chunked", "Content-Length": "3"}, 411),
    ],
)
def test_what_is_too_large_or_of_no_size_is_not_read(local, named, status):
    connection = HTTPConnection("127.0.0.1", local.server_port, timeout=30)
    connection.putrequest("POST", f"/{local.token}/upload")
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()  # though nothing was sent
    assert reply.status == status and json.loads(reply.read())["error"] and not ASKED
    connection.close()


def test_what_comes_along_is_handed_on(local):
    assert ask(local, "upload", "POST", body=bytes(range(256)))[1] == bytes(range(256))
    assert ASKED.pop() == Request("POST", ("upload",), bytes(range(256)))


def test_a_page_may_do_nothing_but_ask_its_own_server(local):
    for path, own in (("", ""), ("page", " 'nonce-abc'")):
        reply, _ = ask(local, path)
        policy = dict(rule.strip().partition(" ")[::2] for rule in reply.headers["Content-Security-Policy"].split(";"))
        assert {policy.pop(rule) for rule in ("default-src", "base-uri", "form-action", "frame-ancestors")} == {
            "'none'"
        }
        scripts = {"script-src": own.strip(), "style-src": own.strip()}
        assert policy == ({**scripts, "img-src": "'self' data:", "connect-src": "'self'"} if own else {})
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer" and reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in reply.headers


def test_what_cannot_be_is_told_and_nothing_is_logged(local, capfd):
    reply, content = ask(local, "wrong")
    assert reply.status == 400 and json.loads(content) == {"error": "it is wrong"}
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_used_is_one_line(local):
    with pytest.raises(ValueError, match=rf"port {local.server_port} is used by another program; give another --port"):
        LocalServer(local.server_port)


def test_somebody_who_leaves_is_no_fault(local, capfd):
    with socket.create_connection(("127.0.0.1", local.server_port)) as line:
        line.sendall(b"POST /" + local.token.encode() + b"/ HTTP/1.0\r\nContent-Length: 9\r\n")
        line.sendall(f"Host: 127.0.0.1:{local.server_port}\r\n\r\n1".encode())
        line.shutdown(socket.SHUT_WR)
        assert re.match(rb"HTTP/1.0 400 ", line.recv(4096))
    assert not ASKED and capfd.readouterr() == ("", "")
