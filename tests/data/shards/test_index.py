"""`pcae index`: what it counts is what is read, from small parts of the shards."""

import json

import datasets
import pytest

from pcae.cli import main
from pcae.data.images import open_images
from tests.data.shards.test_shards import png, write_tar
from tests.servers import http_files


@pytest.fixture
def shards(tmp_path):
    """Three tars of 4, 0 and 3 samples, of which some have several files, and two .parquet of 5 and 2 rows."""
    datasets.disable_progress_bars()
    for number, samples in enumerate((4, 0, 3)):
        names = [f"{sample}.{suffix}" for sample in range(samples) for suffix in ("json", "png", "mask.png")]
        write_tar(tmp_path / "data" / f"train-{number}.tar", [(name, png(number)) for name in names])
    for number, count in enumerate((5, 2)):
        rows = {"image": [{"bytes": png(n), "path": None} for n in range(count)]}
        kinds = datasets.Features({"image": datasets.Image()})
        (tmp_path / "rows").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(rows, features=kinds).to_parquet(tmp_path / "rows" / f"{number}.parquet")
    return tmp_path


def counts(path) -> dict[str, int]:
    index = json.loads(path.read_text())
    assert (index["__kind__"], index["wids_version"]) == ("wids-shard-index-v1", 1)
    return {shard["url"]: shard["nsamples"] for shard in index["shardlist"]}


def test_a_folder_of_shards_gets_an_index_that_moves_with_it(shards, capsys):
    out = shards / "data" / "index.json"
    main(["index", str(shards / "data"), str(out), "--json"])
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "shards": 3, "samples": 7}
    assert counts(out) == {"train-0.tar": 4, "train-1.tar": 0, "train-2.tar": 3}
    (shards / "data").rename(shards / "moved")
    images = open_images(str(shards / "moved" / "index.json"))
    assert len(images) == 7 and images.source(6) == png(2)


def test_an_index_elsewhere_names_whole_paths(shards, monkeypatch):
    monkeypatch.chdir(shards)
    (shards / "other").mkdir()
    main(["index", "rows/{0..1}.parquet", "other/index.json"])
    assert counts(shards / "other" / "index.json") == {f"{shards}/rows/0.parquet": 5, f"{shards}/rows/1.parquet": 2}
    main(["index", "data/train-0.tar", "index.json"])
    assert counts(shards / "index.json") == {"data/train-0.tar": 4}
    assert len(open_images("other/index.json")) == 7 and len(open_images("index.json")) == 4


def test_shards_behind_a_server_are_counted_by_small_ranges(shards):
    write_tar(shards / "data" / "train-1.tar", [(f"{n}.png", bytes(300_000)) for n in range(5)])
    size = (shards / "data" / "train-1.tar").stat().st_size
    with http_files(shards) as server:
        main(["index", f"{server.address}/data/train-{{0..2}}.tar", str(shards / "index.json"), "--threads", "2"])
        found = counts(shards / "index.json")
        assert found == {f"{server.address}/data/train-{n}.tar": samples for n, samples in enumerate((4, 5, 3))}
        read = sum(length for path, _, length in server.ranges if path == "/data/train-1.tar")
        assert read < 0.5 * size
        assert len(open_images(str(shards / "index.json"))) == 12


def test_a_shard_that_cannot_be_read_is_named_and_nothing_written(shards, capsys):
    whole = (shards / "data" / "train-0.tar").read_bytes()
    (shards / "data" / "train-0.tar").write_bytes(whole[:700])
    with pytest.raises(SystemExit) as stop:
        main(["index", str(shards / "data"), str(shards / "index.json")])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "train-0.tar' is cut off, damaged or no .tar file" in said
    assert not list(shards.glob("*index.json*"))


def test_held_out_shards_are_told_by_their_folders_as_in_the_folder_itself(shards, monkeypatch):
    (shards / "split").mkdir()
    (shards / "data").rename(shards / "split" / "train")
    (shards / "rows").rename(shards / "split" / "val")
    (shards / "below").mkdir()
    monkeypatch.chdir(shards / "below")
    main(["index", "../split", "../split/index.json"])
    main(["index", "../split", "index.json"])
    for data in ("../split/index.json", "index.json"):
        assert [len(open_images(data, split)) for split in ("train", "test")] == [7, 7]
        assert open_images(data, "train").source(6) == png(2) and open_images(data, "test").source(6) == png(1)
    assert len(open_images("../split", "train", stream=True)) == 7
