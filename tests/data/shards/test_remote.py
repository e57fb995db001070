"""Reading at addresses: exact through faults of a moment, a clear end where they last, nothing but ranges."""

import sys

import pytest

from pcae.cli import main
from pcae.data.images import open_images
from pcae.data.shards import remote
from pcae.data.shards.remote import RangeFile, RemoteShard, Unreachable, fetch
from tests.data.shards.test_shards import png, write_tar
from tests.data.shards.test_stream import TINY, indexed
from tests.servers import http_files, http_without_ranges

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", waited.append)
    return waited


@pytest.fixture
def server(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with http_files(tmp_path) as server:
        yield server


def test_a_file_at_an_address_is_read_as_one_on_a_disk(server):
    shard = RemoteShard(f"{server.address}/a.bin", chunk=1000)
    assert shard.read(0, 10) == CONTENT[:10] and shard.read(5000, 2500) == CONTENT[5000:7500]
    assert shard.read(len(CONTENT) - 3, 99) == CONTENT[-3:] and shard.read(len(CONTENT) + 5, 9) == b""
    shard.file.seek(-4, 2)
    assert shard.file.read() == CONTENT[-4:]
    assert all(size <= 2500 for _, _, size in server.ranges)


def test_neighbouring_reads_share_a_range(server):
    shard = RemoteShard(f"{server.address}/a.bin", chunk=1000)
    assert b"".join(shard.read(place, 10) for place in range(0, 900, 10)) == CONTENT[:900]
    assert server.ranges == [("/a.bin", 0, 1000)]


@pytest.mark.parametrize("faults", [[503, 503], ["cut"], [429, "cut", 500, 408]])
def test_what_fails_for_a_moment_is_asked_for_again_after_longer_waits(server, waits, faults):
    server.faults = list(faults)
    assert fetch(f"{server.address}/a.bin", 100, 9_000) == CONTENT[100:9_000]
    assert waits == [1.0, 2.0, 4.0, 8.0][: len(faults)] and not server.faults


def test_what_always_fails_ends_with_the_address_and_the_reason(server, waits):
    address = f"{server.address}/a.bin"
    file = RangeFile(address)
    server.always = 503
    with pytest.raises(Unreachable, match=rf"^address '{address}' cannot be read: the server answers 503 .*\(tried 5"):
        file.read(10)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    with pytest.raises(Unreachable, match="the server answers 503"):  # a size that cannot be had is no missing file
        RangeFile(address)


@pytest.mark.parametrize(
    ("status", "words"), [(404, "there is no such file"), (403, "the server answers 403 Forbidden")]
)
def test_what_stays_as_it_is_is_not_asked_for_again(server, waits, status, words):
    server.always = status
    for read in (lambda: fetch(f"{server.address}/a.bin", 0, 9), lambda: RangeFile(f"{server.address}/a.bin")):
        with pytest.raises(Unreachable, match=rf"cannot be read: {words}$"):
            read()
    assert waits == []


def test_a_server_that_is_not_there_is_tried_and_named(server, waits):
    server.server_close()
    with pytest.raises(Unreachable, match=r"cannot be read: .*\(tried 5 times\)$"):
        RangeFile("http://127.0.0.1:9/a.bin")
    assert len(waits) == 4


def test_a_server_without_ranges_is_refused_and_none_of_the_file_read(tmp_path, waits):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with (
        http_without_ranges(tmp_path) as address,
        pytest.raises(Unreachable, match=r"sends all of a file .*HTTP ranges"),
    ):
        RangeFile(f"{address}/a.bin").read(10)
    assert waits == []


@pytest.mark.parametrize(
    ("scheme", "package", "remedy"),
    [("s3", "s3fs", r"'pcae\[scale\]'"), ("http", "aiohttp", r"'pcae\[scale\]'"), ("gs", "gcsfs", "gcsfs")],
)
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, waits, scheme, package, remedy):
    remote.filesystem.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(
        Unreachable, match=rf"^address '{scheme}://place/a.bin' needs a package: pip install {remedy} \("
    ):
        fetch(f"{scheme}://place/a.bin", 0, 1)
    assert waits == []


def refusal(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_survives_faults_of_a_moment_and_ends_in_one_line_at_a_dead_server(tmp_path, capsys, waits, workers):
    shards = tmp_path / "shards"
    for number in range(2):
        members = [(f"{n}.png", png(n)) for n in range(8 * number, 8 * number + 8)]
        write_tar(shards / f"{number}.tar", members)
    indexed(shards, [{"url": f"{number}.tar", "nsamples": 8} for number in range(2)])
    words = [*TINY, "--steps", "4", "--workers", workers]
    main(["pretrain", str(shards / "index.json"), "--out", str(tmp_path / "disk"), *words])
    with http_files(shards) as server:
        server.faults = [503, 503, "cut"]
        data = f"{server.address}/index.json"
        main(["pretrain", data, "--out", str(tmp_path / "http"), *words])
        assert not server.faults
        disk, http = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("disk", "http"))
        assert disk == http
        (shards / "1.tar").unlink()
        statistics = ["--mean", "0.5", "0.5", "0.5", "--std", "0.2", "0.2", "0.2"]
        said = refusal(capsys, "pretrain", data, "--out", str(tmp_path / "dead"), *words, *statistics)
        assert said == f"pcae: address '{server.address}/1.tar' cannot be read: there is no such file"
    assert not (tmp_path / "dead").exists()


def test_images_of_a_dead_server_are_not_taken_for_unreadable_ones(tmp_path, waits):
    write_tar(tmp_path / "a.tar", [(f"{n}.png", png(n)) for n in range(4)])
    indexed(tmp_path, [{"url": "a.tar", "nsamples": 4}])
    with http_files(tmp_path) as server:
        images = open_images(f"{server.address}/index.json")
        server.always = 503
        with pytest.raises(ValueError, match=r"^address .* cannot be read: the server answers 503"):
            images.open(0)
