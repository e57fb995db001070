"""Wherever images lie and features go, the rows are the same: on a disk, at a server, in a store."""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from pcae.cli import main
from pcae.data.images import open_images
from pcae.data.shards import remote
from pcae.sharing.part_folder import PartFolder
from tests.servers import failing, http_files, s3_store
from tests.sharing.conftest import features

WORDS = ["--batch-size", "8", "--part-rows", "16", "--device", "cpu"]


@pytest.fixture(scope="module")
def places(data, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The same images as DATA: tars and .parquet shards with an index, a listing of a store, tables of addresses."""
    root = tmp_path_factory.mktemp("places")
    files = sorted(data.glob("*.png"))
    for kind in ("tar", "parquet", "images"):
        (root / kind).mkdir()
    for path in files:
        (root / "images" / path.name).write_bytes(path.read_bytes())
    for number in range(0, len(files), 40):
        some = files[number : number + 40]
        with tarfile.open(root / "tar" / f"{number:03d}.tar", "w") as tar:
            for path in some:
                tar.add(path, path.name)
        rows = [{"image": {"bytes": path.read_bytes(), "path": path.name}} for path in some]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows), root / "parquet" / f"{number:03d}.parquet", row_group_size=15
        )
    for kind in ("tar", "parquet"):
        main(["index", str(root / kind), str(root / kind / "index.json")])
    with http_files(root) as server, s3_store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import s3fs

        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("bucket")
        for kind in ("tar", "parquet", "images"):
            store.put(str(root / kind), f"s3://bucket/{kind}", recursive=True)
        for name, start in (("http", f"{server.address}/images"), ("s3", "s3://bucket/images")):
            lines = ["url,split_of_me", *(f"{start}/{path.name},x" for path in files)]
            (root / f"{name}.csv").write_text("\n".join(lines) + "\n")
            (root / f"{name}.txt").write_text("\n".join(line.partition(",")[0] for line in lines[1:]))
            rows = pyarrow.table({"caption": [None] * len(files), "url": [f"{start}/{path.name}" for path in files]})
            pyarrow.parquet.write_table(rows, root / f"{name}.parquet", row_group_size=7)
        yield {
            "http tar": f"{server.address}/tar/index.json",
            "http parquet": f"{server.address}/parquet/index.json",
            "s3 tar": "s3://bucket/tar/index.json",
            "s3 parquet": "s3://bucket/parquet/index.json",
            "s3 listing": "s3://bucket/images/",
            "http table": str(root / "http.csv"),
            "s3 table": str(root / "s3.txt"),
            "http table of columns": str(root / "http.parquet"),
            "server": server,
        }
    remote.filesystem.cache_clear()


def embed(data: str, weights: Path, out: Path | str, *more: str) -> tuple[list[str], np.ndarray]:
    main(["embed", data, "--weights", str(weights), "--out", str(out), *WORDS, *more])
    return features(PartFolder(str(out)).table())


@pytest.mark.parametrize(
    "place",
    [
        *["http tar", "http parquet", "s3 tar", "s3 parquet", "s3 listing", "http table", "s3 table"],
        "http table of columns",
    ],
)
def test_rows_are_the_same_wherever_images_lie(places, weights, alone, tmp_path, place):
    names, values = embed(places[place], weights, tmp_path / "out")
    np.testing.assert_array_equal(values, alone[1])
    if "tar" not in place and "parquet" not in place:
        assert [Path(name).name for name in names] == [Path(name).name for name in alone[0]]


@pytest.mark.parametrize("place", ["http tar", "http table"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_server_that_fails_one_read_in_ten_gives_the_same_rows_and_retries_are_counted(
    places,
    weights,
    alone,
    tmp_path,
    monkeypatch,
    place,
    workers,
):
    monkeypatch.setattr(remote, "WAITS", (0.01,) * 4)
    server = places["server"]
    server.every, server.asked = (10 if place == "http table" else 2), 0
    try:
        values = embed(places[place], weights, tmp_path / "out", "--workers", workers)[1]
    finally:
        server.every = 0
    np.testing.assert_array_equal(values, alone[1])
    assert json.loads((tmp_path / "out" / "_summary.json").read_text())["retries"] > 0


@pytest.mark.parametrize("place", ["s3 tar", "s3 parquet", "s3 listing", "s3 table"])
def test_a_store_that_fails_reads_gives_the_same_rows(places, weights, alone, tmp_path, monkeypatch, place):
    """One read in ten, and one in three of the few of a tar: its own client asks again, so that no retry is ours."""
    with failing(os.environ["AWS_ENDPOINT_URL"], 10 if place in ("s3 listing", "s3 table") else 3) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        remote.filesystem.cache_clear()
        values = embed(places[place], weights, tmp_path / "out")[1]
        remote.filesystem.cache_clear()
    np.testing.assert_array_equal(values, alone[1])
    assert store.refused


def test_parts_are_written_to_a_store_and_gone_on_with_there(places, data, weights, alone, tmp_path):
    out = "s3://bucket/features/one"
    names, values = embed(str(data), weights, out)
    assert names == alone[0]
    np.testing.assert_array_equal(values, alone[1])
    folder = PartFolder(out)
    folder.remove("part-00004.parquet")
    np.testing.assert_array_equal(embed(str(data), weights, out)[1], alone[1])
    assert json.loads(folder.read("_summary.json"))["images"] == 148


def test_a_server_that_is_gone_leaves_its_parts_for_the_same_command(
    places, weights, alone, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(remote, "WAITS", ())
    broken = Path(places["http table"]).read_text().splitlines()
    server, out = places["server"], tmp_path / "out"
    table = tmp_path / "some.csv"
    table.write_text("\n".join(broken))
    server.faults = [200] * 60 + [500]  # 200 is no fault
    server.faults = []
    server.always = 500
    with pytest.raises(SystemExit) as stop:
        embed(str(table), weights, out)
    said = capsys.readouterr().err
    assert (
        stop.value.code == 2 and "parts could not be done" in said and "the same command does what is missing" in said
    )
    server.always = None
    np.testing.assert_array_equal(embed(str(table), weights, out)[1], alone[1])


def test_an_image_that_is_not_there_is_left_out_and_named(places, weights, tmp_path, capsys):
    lines = Path(places["http table"]).read_text().splitlines()[1:25]
    table = tmp_path / "some.txt"
    table.write_text(
        "\n".join([line.partition(",")[0] for line in lines] + [f"{places['server'].address}/images/no.png"])
    )
    names, _ = embed(str(table), weights, tmp_path / "out", "--max-bad-files", "0.5")
    assert len(names) == 23
    assert "no.png" in capsys.readouterr().err


def test_splits_and_classes_of_a_store_are_those_of_a_folder(places, data, tmp_path):
    import s3fs

    store = s3fs.S3FileSystem(skip_instance_cache=True)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "0.png").write_bytes((data / "000.png").read_bytes())
    (tmp_path / "train" / "readme.txt").write_text("no image")
    store.put(str(tmp_path), "s3://bucket/splits", recursive=True)
    for split in ("train", "test"):
        found, there = open_images("s3://bucket/splits/", split), open_images(str(tmp_path), split)
        assert [found.short(row) for row in range(len(found))] == [there.short(row) for row in range(len(there))]
        assert (found.labels, found.classes) == (there.labels, there.classes)
        assert found.digest() == there.digest()
        np.testing.assert_array_equal(found.open(0), there.open(0))


@pytest.mark.parametrize("scheme", ["file", "ftp", "memory"])
def test_addresses_of_other_kinds_are_refused(tmp_path, scheme):
    table = tmp_path / "list.txt"
    table.write_text(f"{scheme}://x/a.png\n")
    with pytest.raises(
        ValueError, match=f"'{scheme}://x/a.png' is none that is read; give one of http, https, s3, gs, hf"
    ):
        open_images(str(table))


def test_chains_of_addresses_are_refused(tmp_path):
    table = tmp_path / "list.txt"
    table.write_text("https://x.org/a.zip::zip://b.png\n")
    with pytest.raises(ValueError, match="is a chain"):
        open_images(str(table))


def test_web_servers_have_no_listing():
    with pytest.raises(ValueError, match="web servers have no listing; give a table of addresses"):
        open_images("https://example.org/images/")
