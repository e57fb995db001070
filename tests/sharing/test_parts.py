"""A folder of parts is the same whoever made it: any number of processes, killed at any moment, another goes on."""

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
from PIL import Image

import pcae
from pcae.cli import main
from pcae.settings.values import place_of
from pcae.sharing.in_parts import OpenPart
from pcae.sharing.part_folder import PartFolder, is_folder
from pcae.weights.files import save_model
from tests.processes import Started, ended, succeed, together
from tests.sharing.conftest import features
from tests.weights.exported import model_of

WORDS = ["--batch-size", "8", "--part-rows", "16", "--device", "cpu"]


def embedding(data: Path, weights: Path, out: Path | str, *more: str) -> list[str]:
    return ["pcae", "embed", str(data), "--weights", str(weights), "--out", str(out), *WORDS, *more]


def assert_same(out: Path, alone: tuple[list[str], np.ndarray]) -> None:
    """Read as one, the parts are what one process writes to one file, bit for bit."""
    names, values = features(pyarrow.dataset.dataset(out).to_table())
    assert names == alone[0]
    np.testing.assert_array_equal(values, alone[1])
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("processes", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_parts_read_as_one_are_what_one_process_writes(data, weights, alone, tmp_path, processes):
    said = succeed(*together(embedding(data, weights, tmp_path / "out"), processes))
    assert_same(tmp_path / "out", alone)
    assert "2 of 150 images cannot be read" in said[0] and "they have no row" in said[0]
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert (summary["images"], summary["bad_files"], summary["parts"], summary["processes"]) == (148, 2, 10, processes)


def test_reading_processes_change_nothing(data, weights, alone, tmp_path):
    succeed(*together(embedding(data, weights, tmp_path / "out", "--workers", "2"), 1))
    assert_same(tmp_path / "out", alone)


def test_a_finished_part_is_not_done_again_and_a_missing_one_is(data, weights, alone, tmp_path):
    out = tmp_path / "out"
    main(embedding(data, weights, out)[1:])
    (out / "part-00003.parquet").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    main(embedding(data, weights, out)[1:])
    speed = json.loads((out / "_summary.json").read_text())["images_per_second"]
    main(embedding(data, weights, out)[1:])  # nothing is left
    assert json.loads((out / "_summary.json").read_text())["images_per_second"] == speed > 0
    assert_same(out, alone)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before


def test_an_image_that_was_repaired_is_embedded_by_the_same_command(data, weights, tmp_path):
    copies = tmp_path / "data"
    copies.mkdir()
    for path in sorted(data.glob("*.png"))[:24]:
        (copies / path.name).write_bytes(path.read_bytes())
    main(embedding(copies, weights, tmp_path / "out", "--max-bad-files", "0.5")[1:])
    assert len(features(pyarrow.dataset.dataset(tmp_path / "out").to_table())[0]) == 23
    (copies / "020.png").write_bytes((data / "000.png").read_bytes())
    main(embedding(copies, weights, tmp_path / "out", "--max-bad-files", "0.5")[1:])
    names, values = features(pyarrow.dataset.dataset(tmp_path / "out").to_table())
    assert len(names) == 24
    np.testing.assert_allclose(values[20], values[0], atol=1e-6)
    assert not list((tmp_path / "out").glob("_bad*"))


def test_other_settings_images_and_weights_are_refused_by_name(data, weights, tmp_path, capsys):
    out, other = tmp_path / "out", tmp_path / "other.safetensors"
    main(embedding(data, weights, out)[1:])
    model = model_of(classes=["a", "b", "d"], image_size=(24, 32))
    save_model(other, model.encoder.vit, model.facts)
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    Image.new("RGB", (40, 40)).save(fewer / "0.png")
    for words, name in (
        (embedding(data, weights, out, "--tokens"), "pool"),
        ([*embedding(data, weights, out), "--batch-size", "16"], "batch_size"),
        (embedding(fewer, weights, out), "images"),
        (embedding(data, other, out), "image_size"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words[1:])
        said = capsys.readouterr().err
        assert stop.value.code == 2
        assert "holds parts made with" in said and "choose another folder" in said, name
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "letter.txt").write_text("mine")
    with pytest.raises(SystemExit):
        main(embedding(data, weights, tmp_path / "own")[1:])
    assert "holds 'letter.txt' of another program" in capsys.readouterr().err


def test_too_many_unreadable_images_end_it_and_allowing_more_goes_on(data, weights, alone, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        main(embedding(data, weights, out, "--max-bad-files", "0.001")[1:])
    assert "more than --max-bad-files 0.001 allows" in capsys.readouterr().err
    main(embedding(data, weights, out)[1:])
    assert_same(out, alone)


def test_one_file_or_standard_output_is_refused_for_several_processes(data, weights, tmp_path):
    for words in (
        ["pcae", "embed", str(data), "--weights", str(weights), "--out", str(tmp_path / "f.npy")],
        ["pcae", "predict", str(data), "--weights", str(weights)],
    ):
        done = ended(*together([*words, "--device", "cpu"], 2))
        assert all(status == 2 and "give" in said and "a folder for parts" in said for status, said in done), done


def test_predictions_in_parts_are_those_in_a_file(data, weights, tmp_path):
    words = ["predict", str(data), "--weights", str(weights), "--device", "cpu", "--batch-size", "8", "--top", "2"]
    main([*words, "--out", str(tmp_path / "lines.jsonl")])
    succeed(*together(["pcae", *words, "--part-rows", "16", "--out", str(tmp_path / "parts")], 2))
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    rows = pyarrow.dataset.dataset(tmp_path / "parts").to_table().to_pylist()
    assert [{name: value for name, value in row.items() if value is not None} for row in rows] == lines
    found = pcae.predict(
        str(data), weights=str(weights), device="cpu", batch_size=8, top=2, part_rows=16, out=tmp_path / "parts"
    )
    assert found.rows == lines


def test_python_gets_the_features_of_a_folder(data, weights, alone, tmp_path):
    found = pcae.embed(str(data), weights=str(weights), out=tmp_path / "out", batch_size=8, part_rows=16, device="cpu")
    assert found.names == alone[0]
    np.testing.assert_array_equal(found.features, alone[1])


def test_what_reads_folders_of_parquet_reads_parts(data, weights, alone, tmp_path):
    import datasets
    import pandas

    main(embedding(data, weights, tmp_path / "out")[1:])
    frame = pandas.read_parquet(tmp_path / "out")
    assert frame["path"].tolist() == alone[0]
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out" / "*.parquet"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert rows["path"][:] == alone[0]


def wait_for_parts(out: Path, count: int, *processes: Started) -> None:
    end = time.monotonic() + 60
    while len(list(out.glob("part-*"))) < count and any(one.returncode is None for one in processes):
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_every_image_once(data, weights, alone, tmp_path):
    """One or all of one to three processes are killed, twenty times; another number of them goes on."""
    chance, out, kills = random.Random(0), tmp_path / "out", 0
    while kills < 20:
        processes = together(embedding(data, weights, out), chance.choice([1, 2, 3]))
        before = len(list(out.glob("part-*")))
        wait_for_parts(out, before + chance.choice([0, 1]), *processes)
        time.sleep(chance.uniform(0, 0.3))
        victims = processes if chance.random() < 0.5 else [chance.choice(processes)]
        for one in victims:
            one.send_signal(signal.SIGKILL)
        for one in processes:  # as torchrun ends those that are left
            one.send_signal(signal.SIGTERM)
            one.process.join(20)
            one.process.kill()
        kills += 1
        for path in out.glob("part-*"):
            pyarrow.parquet.read_table(path)  # none is torn
        if chance.random() < 0.3:
            for path in list(out.glob("part-*"))[: chance.choice([1, 5])]:
                path.unlink()  # so that there is something to kill
    succeed(*together(embedding(data, weights, out), 2))
    assert_same(out, alone)


def test_asked_to_stop_it_ends_with_75_and_the_same_command_goes_on(
    data, weights, alone, tmp_path, monkeypatch, capsys
):
    out, finish = tmp_path / "out", OpenPart.finish

    def finish_third(part: OpenPart, *given) -> None:
        finish(part, *given)
        if part.number == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(OpenPart, "finish", finish_third)
        main(embedding(data, weights, out)[1:])
    assert stop.value.code == 75 and "the same command goes on" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["_bad-00001.jsonl", "_job.json"] + [
        f"part-{number:05d}.parquet" for number in range(4)
    ]
    main(embedding(data, weights, out)[1:])
    assert_same(out, alone)


def test_parts_that_went_to_another_disk_are_missed(data, weights, tmp_path, monkeypatch, capsys):
    """As on a machine that does not share the folder: a process says that it wrote, and nothing is there."""
    from pcae.sharing import in_parts

    finish = OpenPart.finish
    monkeypatch.setattr(in_parts, "LATE", ())
    monkeypatch.setattr(OpenPart, "finish", lambda part, *given: part.number == 3 or finish(part, *given))
    with pytest.raises(SystemExit):
        main(embedding(data, weights, tmp_path / "out")[1:])
    said = capsys.readouterr().err
    assert "1 of 10 parts are not in" in said and "part-00003.parquet; give a folder that all machines share" in said


def test_what_is_a_folder_and_what_a_file(tmp_path):
    (tmp_path / "old.v2").mkdir()
    assert all(map(is_folder, (Path("features"), Path("s3://bucket/features"), tmp_path / "old.v2")))
    assert not any(map(is_folder, (Path("f.npy"), Path("f.parquet"), Path("a/f.csv"))))
    assert place_of(Path("s3://bucket/a/b")) == "s3://bucket/a/b" and place_of(Path("/a/b")) == "/a/b"


@pytest.mark.parametrize(
    "words",
    [
        "pack DATA s3://bucket/packed",
        "pretrain DATA --recipe sample --out gs://bucket/run",
        "check-data DATA --out s3://bucket/page.html",
        "evaluate DATA --weights W --out s3://bucket/page.png",
        "neighbours s3://bucket/features DATA",
        "show DATA --weights W --out hf://buckets/a/b.png",
    ],
)
def test_what_needs_a_disk_refuses_an_address_and_writes_nothing(data, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([str(data) if word == "DATA" else word for word in words.split()])
    place = next(word for word in words.split() if "://" in word)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and f"{place!r} is an address; give a path on a disk of this machine" in said
    assert not list(tmp_path.iterdir())


def test_from_python_an_address_is_refused_where_a_disk_is_needed(data):
    with pytest.raises(ValueError, match="out 's3://bucket/packed' is an address; give a path on a disk"):
        pcae.pack(data, "s3://bucket/packed")


@pytest.mark.parametrize("verb", ["embed", "predict"])
def test_a_folder_that_cannot_be_made_is_refused_before_any_work(data, weights, capsys, verb):
    for out, why in ((data / "inside", "lies inside the data"), (data / "000.png" / "f", "is no folder")):
        with pytest.raises(SystemExit) as stop:
            main([verb, str(data), "--weights", str(weights), "--out", str(out)])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and why in said and len(said.splitlines()) == 1


def test_web_servers_take_no_parts(data, weights, capsys):
    with pytest.raises(SystemExit):
        main(embedding(data, weights, "https://example.org/features")[1:])
    assert "https is only read" in capsys.readouterr().err


def test_what_was_begun_long_ago_goes(tmp_path):
    folder = PartFolder(str(tmp_path))
    old = folder.beside("part-00000.parquet")
    old.write_bytes(b"half")
    folder.sweep(3600)
    assert old.exists()
    folder.sweep(0)
    assert not old.exists()
