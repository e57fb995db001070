"""Streams: every sample once an epoch, from wherever it is read, however many read it, and after any interruption."""

import json
import pickle
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from pcae.cli import main
from pcae.data.batches import MicroBatches, pixel_statistics, whole_loader
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.shards import remote
from pcae.data.shards.lane_batches import lane_loader
from pcae.data.shards.samples import BrokenShard
from pcae.data.shards.shard_list import count_all, index_text
from pcae.data.tables.labelled import open_labelled
from pcae.data.unreadable import BadFiles
from pcae.settings.reading import DataConfig
from tests.data.shards.test_shards import png, write_tar
from tests.servers import http_files, s3_store

COUNTS = (7, 3, 12, 5, 13)
TOTAL = sum(COUNTS)
STEPS = 5
"""Of an epoch, with eight images each."""
CPU = torch.device("cpu")


def members(first: int, last: int) -> list[tuple[str, bytes]]:
    """Samples with a text before the image, whose names are as long as numbers are."""
    both = [[(f"{n:04d}.txt", b"x" * n), (f"{n:04d}.png", png(n))] for n in range(first, last)]
    return [member for sample in both for member in sample]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The same 40 images in five tars and in five parquet files of several row groups, with an index of each."""
    root = tmp_path_factory.mktemp("streams")
    datasets.disable_progress_bars()
    first = 0
    for number, count in enumerate(COUNTS):
        name = root / "tar" / f"train-{number:06d}.tar"
        write_tar(name, members(first, first + count))
        rows = [{"bytes": png(n), "path": f"{n}.png"} for n in range(first, first + count)]
        kinds = datasets.Features({"picture": datasets.Image(), "n": datasets.Value("int64")})
        part = datasets.Dataset.from_dict({"picture": rows, "n": list(range(count))}, features=kinds)
        (root / "parquet").mkdir(exist_ok=True)
        part.to_parquet(root / "parquet" / f"train-{number:06d}.parquet", batch_size=4)
        first += count
    for kind in ("tar", "parquet"):
        out = root / kind / "index.json"
        out.write_text(index_text(count_all(sorted(map(str, (root / kind).glob(f"*.{kind}")))), out))
    return root


@pytest.fixture(scope="module")
def places(root):
    """Where the index of the same images lies: on the disk, behind a server, and in a store."""
    remote.filesystem.cache_clear()
    with http_files(root) as server, s3_store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import s3fs

        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("bucket")
        store.put(str(root / "tar"), "s3://bucket/tar", recursive=True)
        yield {
            "tar": f"{root}/tar/index.json",
            "parquet": f"{root}/parquet/index.json",
            "http": f"{server.address}/tar/index.json",
            "http-parquet": f"{server.address}/parquet/index.json",
            "s3": "s3://bucket/tar/index.json",
        }
    remote.filesystem.cache_clear()


def read(images, *, rank=0, processes=1, accumulation=1, workers=0, start=0, steps=STEPS, seed=3, **how):
    """This process's micro-batches."""
    crops = RandomCrops(images, (16, 16), (0.2, 1.0), seed=3)
    order = MicroBatches(len(images), seed, 8, start, steps, rank, processes, accumulation)
    reading = DataConfig(workers=workers, lanes=how.pop("lanes", 4), shuffle=how.pop("shuffle", 3))
    return list(lane_loader(crops, order, reading, CPU))


def globally(images, processes=1, accumulation=1, **how):
    """The rows and the pixels of each global batch, as all processes together have it."""
    ranks = [
        read(images, rank=rank, processes=processes, accumulation=accumulation, **how) for rank in range(processes)
    ]
    steps = [
        [batch for rank in ranks for batch in rank[first : first + accumulation]]
        for first in range(0, len(ranks[0]), accumulation)
    ]
    return [
        ([index for batch in step for index in batch.indices], torch.cat([batch.pixels for batch in step]))
        for step in steps
    ]


def assert_same(one, two):
    assert [rows for rows, _ in one] == [rows for rows, _ in two]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one, two, strict=True))


@pytest.mark.parametrize(
    "place", ["tar", "parquet", "http", "http-parquet", pytest.param("s3", marks=pytest.mark.slow)]
)
def test_an_epoch_by_two_ranks_of_two_readers_has_every_sample_once_also_after_going_on(places, place):
    """The process that forks the readers has read from the same place before: nothing of it may be shared."""
    images = open_images(places[place])
    assert images.source(39) == png(39)
    found = [read(images, rank=rank, processes=2, workers=2) for rank in range(2)]
    assert Counter(index for rank in found for batch in rank for index in batch.indices) == Counter(range(TOTAL))
    parts = [
        read(images, rank=rank, processes=2, workers=2, start=start, steps=steps)
        for rank in range(2)
        for start, steps in ((0, 2), (2, STEPS))
    ]
    assert Counter(index for part in parts for batch in part for index in batch.indices) == Counter(range(TOTAL))


@pytest.mark.parametrize("place", ["parquet", "http", "s3"])
def test_the_same_samples_are_the_same_wherever_they_lie(places, place):
    local, there = open_images(places["tar"]), open_images(places[place])
    assert [there.source(row) for row in (0, 8, 9, 39, 5)] == [png(n) for n in (0, 8, 9, 39, 5)]
    assert_same(globally(local, steps=12), globally(there, steps=12))


@pytest.mark.parametrize(("processes", "accumulation", "workers"), [(2, 1, 0), (1, 2, 2), (2, 2, 1), (4, 1, 0)])
def test_global_batches_depend_on_no_number_of_processes_readers_or_micro_batches(
    places, processes, accumulation, workers
):
    images = open_images(places["tar"])
    assert_same(
        globally(images, steps=12),
        globally(images, processes, accumulation, workers=workers, steps=12),
    )


@pytest.mark.parametrize("start", [2, 7])
def test_a_run_that_goes_on_anywhere_reads_what_the_unbroken_one_would(places, start):
    """In the middle of shards and of blocks, and in the second epoch; then with other processes."""
    images = open_images(places["tar"])
    whole = globally(images, steps=12)
    assert_same(whole[start:], globally(images, start=start, steps=12))
    assert_same(whole[start:], globally(images, 2, start=start, steps=12, workers=2))


def test_pixels_are_the_crops_of_a_folders_images_at_the_same_positions(places):
    images = open_images(places["tar"])
    crops = RandomCrops(images, (16, 16), (0.2, 1.0), seed=3)
    for step, (rows, pixels) in enumerate(globally(images)):
        expected = [crops[row, step * 8 + place] for place, row in enumerate(rows)]
        assert torch.equal(pixels, torch.stack(expected))


def test_seed_lanes_and_blocks_decide_the_order(places):
    images = open_images(places["tar"])
    orders = [
        [rows for rows, _ in globally(images, **how)]
        for how in ({}, {"seed": 4}, {"lanes": 2}, {"shuffle": 1}, {"shuffle": 99})
    ]
    assert all(a != b for place, a in enumerate(orders) for b in orders[:place])
    assert all(Counter(row for rows in order for row in rows) == Counter(range(TOTAL)) for order in orders)


def test_a_stream_holds_nothing_of_each_image_and_knows_its_rows(places):
    images = open_images(places["tar"])
    assert len(images) == TOTAL and images.labels is None and images.stream is not None
    assert len(pickle.dumps(images)) < 2_000
    billion = replace(images.stream, counts=np.array(COUNTS) * 10**9)
    assert len(pickle.dumps(billion)) < 2_000 and billion.locate(10**10 + 3) == (2, 3)
    assert (images.short(0), images.short(39)) == ("train-000000.tar/0", "train-000004.tar/12")
    assert [images.stream.locate(row) for row in (0, 6, 7, 39)] == [(0, 0), (0, 6), (1, 0), (4, 12)]


def test_the_digest_says_which_samples_and_not_where(places, root, tmp_path):
    images = open_images(places["tar"])
    assert images.digest() == open_images(places["http"]).digest() == open_images(places["s3"]).digest()
    index = json.loads(Path(places["tar"]).read_text())
    index["shardlist"][0]["nsamples"] -= 1
    for name in ("train-000000.tar", "train-000001.tar", "train-000002.tar", "train-000003.tar", "train-000004.tar"):
        (tmp_path / name).symlink_to(root / "tar" / name)
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert open_images(str(tmp_path / "index.json")).digest() != images.digest()


def test_some_images_are_the_first_of_shards_spread_over_the_list(places):
    images = open_images(places["tar"])
    assert images.some(10) == [0, 1, 7, 8, 10, 11, 22, 23, 27, 28]
    assert images.some(3) == [0, 10, 27] and sorted(set(images.some(99))) == images.some(99)
    assert images.some(99)[:8] == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_a_stream_is_read_by_any_number_of_readers(places, workers):
    images = open_images(places["http"])
    batches = list(whole_loader(images, (16, 16), batch_size=3, workers=workers))
    assert [index for batch in batches for index in batch.indices] == list(range(TOTAL))


def test_in_order_a_shard_is_opened_once(root):
    with http_files(root) as server:
        images = open_images(f"{server.address}/tar/index.json")
        server.ranges.clear()
        assert [images.source(row) for row in range(TOTAL)] == [png(n) for n in range(TOTAL)]
        assert len(server.ranges) == len(COUNTS)


def test_statistics_are_those_of_the_images_looked_at(places):
    images = open_images(places["parquet"])
    chosen = images.some(20)
    assert len(chosen) == 20
    found = pixel_statistics(images, (16, 16), BadFiles(images, 0.0), limit=20)
    rest = images.without(set(range(TOTAL)) - set(chosen))
    assert rest.stream is None and found == pixel_statistics(rest, (16, 16), BadFiles(rest, 0.0))


def damaged(folder: Path, bad: set[int], counts=(6, 6)) -> str:
    """Two shards of images of which some are torn, and their index."""
    first = 0
    for number, count in enumerate(counts):
        contents = [(f"{n}.png", b"torn" if n in bad else png(n)) for n in range(first, first + count)]
        write_tar(folder / f"{number}.tar", contents)
        first += count
    shards = [{"url": f"{number}.tar", "nsamples": count} for number, count in enumerate(counts)]
    return indexed(folder, shards)


def indexed(folder: Path, shards: list, **more) -> str:
    index = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": "x", "shardlist": shards, **more}
    folder.mkdir(exist_ok=True)
    (folder / "index.json").write_text(json.dumps(index))
    return str(folder / "index.json")


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_samples_are_replaced_by_the_next_of_their_block_and_reported_by_row(tmp_path, workers):
    images = open_images(damaged(tmp_path, {2, 7}))
    how = {"lanes": 2, "shuffle": 6, "steps": 3}
    batches = read(images, workers=workers, **how)
    assert {row for batch in batches for row in batch.failed} == {2, 7}
    assert "2.png: " in next(batch.failed[2] for batch in batches if 2 in batch.failed)
    assert all(batch.pixels.shape == (8, 3, 16, 16) for batch in batches)
    shown = [row for batch in batches for row in batch.indices]
    assert not {2, 7} & set(shown) and len(shown) == 24
    assert_same(globally(images, **how)[1:], globally(images, 2, start=1, **how))


def test_where_all_of_a_block_is_unreadable_the_next_blocks_stand_in_and_a_hundred_in_a_row_end_the_run(tmp_path):
    images = open_images(damaged(tmp_path / "some", {0, 1, 2, 3, 4}))
    shown = [row for batch in read(images, lanes=1, shuffle=1) for row in batch.indices]
    assert set(shown) == set(range(5, 12))
    images = open_images(damaged(tmp_path / "all", set(range(12))))
    with pytest.raises(
        ValueError, match=r"^100 images in a row cannot be read, the first one: '.*tar/\d' \(\d+\.png: "
    ):
        read(images, lanes=1)


def test_a_block_of_more_bytes_than_are_safe_to_hold_is_refused_with_the_remedy(places, monkeypatch):
    monkeypatch.setattr("pcae.data.shards.lane_batches.MOST_BYTES", 3 * len(png(0)))
    images = open_images(places["tar"])
    assert len(read(images, shuffle=1)) == STEPS
    with pytest.raises(ValueError, match=r"^9 samples in a row, .* safe to hold \(.*\); give a smaller --shuffle$"):
        read(images, shuffle=9)


def test_what_a_stream_could_not_read_is_counted_again_without_a_look(tmp_path):
    images = open_images(damaged(tmp_path, {2, 7}))
    bad_files = BadFiles(images, 0.5)
    bad_files.add({2: "torn", 7: "torn, too"})
    (tmp_path / "bad.jsonl").write_text(bad_files.lines() + '{"file": "gone.tar/3", "reason": "x"}\n')
    (tmp_path / "1.tar").unlink()
    again = BadFiles(open_images(str(tmp_path / "index.json")), 0.5)
    again.look_again(tmp_path / "bad.jsonl")
    assert again.found == {2: "torn", 7: "torn, too"}


@pytest.mark.parametrize("count", [5, 7])
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_shard_with_more_or_fewer_samples_than_its_index_says_is_named(root, tmp_path, kind, count):
    (tmp_path / f"a.{kind}").symlink_to(root / kind / f"train-000003.{kind}")  # which has 5
    images = open_images(indexed(tmp_path, [{"url": f"a.{kind}", "nsamples": count - 1 if count == 5 else 7}]))
    words = "more samples than the 4" if count == 5 else "fewer samples than the 7"
    with pytest.raises(
        ValueError, match=rf"^shard '.*a\.{kind}' has {words} that it should have; write its index anew"
    ):
        read(images, lanes=1)


@pytest.mark.parametrize("place", ["disk", "http"])
@pytest.mark.parametrize(("kind", "keep"), [("tar", 0.5), ("tar", 0.7), ("parquet", 0.5)])
def test_a_shard_that_is_cut_off_is_named(root, tmp_path, kind, keep, place):
    whole = (root / kind / f"train-000004.{kind}").read_bytes()
    (tmp_path / f"a.{kind}").write_bytes(whole[: int(len(whole) * keep)])
    index = indexed(tmp_path, [{"url": f"a.{kind}", "nsamples": 13}])
    with http_files(tmp_path) as server:
        images = open_images(index if place == "disk" else f"{server.address}/index.json")
        with pytest.raises(BrokenShard, match=rf"^shard '.*a\.{kind}' is cut off, damaged or no \.{kind} file"):
            read(images, lanes=1)


def test_samples_without_image_links_and_evil_names_are_rows_that_lead_nowhere(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(9))
    write_tar(tmp_path / "in" / "a.tar", [("../../evil.png", png(1)), ("/absolute.png", png(2)), ("2.txt", b"x")])
    with tarfile.open(tmp_path / "in" / "a.tar", "a") as tar:
        info = tarfile.TarInfo("link.png")
        info.type, info.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    images = open_images(str(tmp_path / "in"), stream=True)
    assert len(images) == 3 and [images.source(row) for row in range(2)] == [png(1), png(2)]
    batches = read(images, lanes=1)
    assert {row: why for batch in batches for row, why in batch.failed.items()} == {2: "the sample has no image"}
    assert sorted(tmp_path.rglob("*")) == before and not Path("/absolute.png").exists()


def test_paths_in_a_parquet_are_not_opened(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(1))
    kinds = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    rows = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": png(2), "path": None}]
    datasets.Dataset.from_dict({"image": rows}, features=kinds).to_parquet(tmp_path / "a.parquet")
    images = open_images(str(tmp_path / "a.parquet"), stream=True)
    failed = {row: why for batch in read(images, lanes=1) for row, why in batch.failed.items()}
    assert failed == {0: "the row has no image"} and images.source(1) == png(2)


@pytest.mark.parametrize(
    "url",
    [
        "../a.tar", "b/../../a.tar", "..\\a.tar", "a.zip", "a.tar.gz", "file:///a.tar", "zip://x::s3://b/a.tar",
        "pipe:cat a.tar", "ftp://host/a.tar", "a\0.tar", "https://",
    ],
)  # fmt: skip
def test_an_index_leads_to_shards_below_it_or_at_plain_addresses_only(tmp_path, url):
    with pytest.raises(ValueError, match=r"^(index|address) .*(leads elsewhere|which is no|is none|is a chain)"):
        open_images(indexed(tmp_path, [{"url": url, "nsamples": 3}]))


def test_an_index_at_an_address_names_no_file_of_this_machine(tmp_path):
    indexed(tmp_path, [{"url": f"{tmp_path}/a.tar", "nsamples": 3}])
    assert len(open_images(str(tmp_path / "index.json"))) == 3
    with http_files(tmp_path) as server, pytest.raises(ValueError, match="which leads elsewhere"):
        open_images(f"{server.address}/index.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is no JSON; write it by pcae index"),
        ("[" * 100_000, r"is no JSON"),
        ("[]", r"is not of the kind wids-shard-index-v1, version 1"),
        ({"wids_version": 2}, r"is not of the kind"),
        ({"shardlist": {}}, r"has no shards under 'shardlist'"),
        ({"shardlist": []}, r"has no shards under 'shardlist'"),
        ({"shardlist": ["a.tar"]}, r"shard 0: a 'url' and a number of 'nsamples' are wanted"),
        ({"shardlist": [{"url": "a.tar", "nsamples": True}]}, r"shard 0: a 'url' and"),
        ({"shardlist": [{"url": "a.tar", "nsamples": -1}]}, r"shard 0: a 'url' and"),
        ({"shardlist": [{"url": "a.tar", "nsamples": 1}] * 2}, r"names 'a.tar' twice"),
        ({"shardlist": [{"url": "a.tar", "nsamples": 0}]}, r"holds no samples"),
    ],
)
def test_an_index_that_is_none_is_refused_in_one_line(tmp_path, text, message):
    data = indexed(tmp_path, [], **(text if isinstance(text, dict) else {}))
    if isinstance(text, str):
        Path(data).write_text(text)
    with pytest.raises(ValueError, match=message) as refusal:
        open_images(data)
    assert "\n" not in str(refusal.value)


def test_splits_of_a_stream_are_those_of_its_shards_names(root, tmp_path):
    shards = [{"url": f"{root}/tar/train-000001.tar", "nsamples": 3}]
    (tmp_path / "val-0.tar").symlink_to(root / "tar" / "train-000003.tar")
    index = indexed(tmp_path, [*shards, {"url": "val-0.tar", "nsamples": 5}])
    assert [len(open_images(index, split)) for split in ("train", "test")] == [3, 5]


def test_a_stream_is_refused_where_labels_are_wanted(places):
    with pytest.raises(
        ValueError, match=r"index\.json' is a stream, which has no labels; give the folder of its shards"
    ):
        open_labelled(places["tar"])


def test_streams_without_an_index_count_for_themselves(root, places, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    address = places["http-parquet"].removesuffix("index.json")
    for data, stream in (
        (str(root / "tar"), True),
        (str(root / "parquet"), True),
        (str(root / "tar" / "train-{000000..000004}.tar"), True),
        (f"hf:{root}/parquet", True),
        (address + "train-{000000..000004}.parquet", False),
    ):
        images = open_images(data, stream=stream)
        assert len(images) == TOTAL and images.stream is not None and images.source(11) == png(11), data
        assert Counter(row for batch in read(images) for row in batch.indices) == Counter(range(TOTAL))


@pytest.mark.parametrize(
    ("data", "stream", "message"),
    [
        ("https://host/a.tar", False, "is read by an index.*write it by pcae index"),
        ("s3://bucket/train-{0..9}.tar", False, "is read by an index"),
        ("https://host/folder", False, r"is no shard \(.tar, .parquet\) and no index"),
        ("pipe:curl x", False, "is none that is read; give one of http, https, s3, gs, hf, or a path"),
        ("gs://", False, "is none that is read"),
        ("file:///a.tar", False, "is none that is read"),
        ("simplecache::s3://b/a.json", False, "cannot be read"),
        ("s3://b/a.parquet::x", False, "is a chain of several"),
        ("sample", True, "cannot be streamed"),
        ("{tmp}", True, "cannot be streamed: it is no .tar, .parquet file and holds none"),
        ("{tmp}/no.json", False, "^index '.*no.json' cannot be read: No such file"),
        ("{tmp}/no.tar", True, "cannot be streamed"),
    ],
)
def test_what_is_no_stream_is_refused_in_one_line(tmp_path, data, stream, message):
    with pytest.raises(ValueError, match=message) as refusal:
        open_images(data.replace("{tmp}", str(tmp_path)), stream=stream)
    assert "\n" not in str(refusal.value)


def test_a_pattern_of_endless_addresses_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr("pcae.data.shards.stream.MOST_SHARDS", 3)
    with pytest.raises(ValueError, match="names more than 3 shards; make fewer, larger ones"):
        open_images("s3://bucket/train-{0..99999999999}.parquet")


TINY = [
    "--recipe", "sample", "--channels", "3", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu", "--warmup-epochs", "0", "--lanes", "4",
    "--shuffle", "3", "--checkpoint-every", "3",
]  # fmt: skip


@pytest.mark.parametrize(("place", "workers"), [("tar", "0"), pytest.param("http", "2", marks=pytest.mark.slow)])
def test_pretrain_on_an_index_goes_on_bit_for_bit_in_the_middle_of_a_shard(
    places, tmp_path, place, workers, monkeypatch
):
    """Stopped after step 3 of 8, which is in the middle of the first of almost two epochs."""
    words = ["pretrain", places[place], *TINY, "--steps", "8", "--workers", workers]
    main([*words, "--out", str(tmp_path / "whole")])
    from pcae.runs import run

    real, seen = run.TrainingRun.stop_if, []

    def stop(self, asked):
        seen.append(self.progress.step)
        return real(self, asked or self.progress.step == 4)

    monkeypatch.setattr(run.TrainingRun, "stop_if", stop)
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--out", str(tmp_path / "broken")])
    assert stopped.value.code == 75 and seen[-1] == 4
    monkeypatch.setattr(run.TrainingRun, "stop_if", real)
    main([*words, "--out", str(tmp_path / "broken")])
    whole, broken = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken
