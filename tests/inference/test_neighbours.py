"""`pcae neighbours`: the rows that are nearest, from any file of features, by path or by picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import pcae
from pcae.cli import main
from pcae.inference import neighbours
from pcae.inference.feature_files import rows_in, table_of
from pcae.inference.stored_features import open_features
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.search import rows as blocks
from pcae.weights.files import save_model
from tests.conftest import TINY
from tests.photographs import make_folder

COUNT = 14


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Photographs, weights, and features of them in a .npy file, a .parquet file and a folder of parts."""
    root = tmp_path_factory.mktemp("neighbours")
    make_folder(root / "photos", COUNT)
    torch.manual_seed(0)
    facts = PretrainedFacts(encoder=TINY, mean=[0.5] * 3, std=[0.25] * 3)
    save_model(root / "encoder.safetensors", build_encoder(TINY).vit, facts)
    for out in ("F.npy", "F.parquet", "parts"):
        said = ["embed", str(root / "photos"), "--weights", str(root / "encoder.safetensors"), "--out", str(root / out)]
        main([*said, "--device", "cpu", "--batch-size", "4", *(["--part-rows", "5"] if out == "parts" else [])])
    return root


def by_hand(place: Path, query: int) -> list[tuple[str, float]]:
    """All other images by their similarity to one."""
    rows, names = np.load(place / "F.npy").astype(np.float64), json.loads((place / "F.files.json").read_text())
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return sorted(
        ((name, one @ unit[query]) for at, (name, one) in enumerate(zip(names, unit, strict=True)) if at != query),
        key=lambda pair: -pair[1],
    )


def lines(capsys, *words: str) -> dict:
    main(["neighbours", *map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["F.npy", "F.parquet", "parts"])
@pytest.mark.parametrize("indexed", [False, True])
def test_every_file_gives_the_same_neighbours(capsys, place, tmp_path, name, indexed):
    names = json.loads((place / "F.files.json").read_text())
    more = ["--index", str(tmp_path / "index")] if indexed else []
    found = lines(capsys, place / name, names[0], names[3], "--neighbours", "4", *more)
    assert found["search"] == ("index" if indexed else "exact")
    for row, query in zip(found["rows"], (0, 3), strict=True):
        right = by_hand(place, query)[:4]
        assert row["path"] == names[query] and [one["path"] for one in row["neighbours"]] == [path for path, _ in right]
        assert [one["similarity"] for one in row["neighbours"]] == pytest.approx([near for _, near in right], abs=1e-5)


def test_pictures_are_embedded_as_embed_does(capsys, place):
    (_, *more), names = by_hand(place, 2), json.loads((place / "F.files.json").read_text())
    weights = ["--weights", str(place / "encoder.safetensors"), "--device", "cpu"]
    found = lines(capsys, place / "F.npy", place / "photos" / names[2], *weights, "--neighbours", "3")
    nearest = found["rows"][0]["neighbours"]
    assert nearest[0] == {"path": names[2], "similarity": pytest.approx(1, abs=1e-5)}
    assert nearest[2]["path"] == more[0][0]


def test_a_line_for_each_query_is_written(place, tmp_path, capsys):
    names = json.loads((place / "F.files.json").read_text())
    found = pcae.neighbours(place / "F.npy", names[:3], neighbours=2, out=tmp_path / "near.jsonl")
    written = [json.loads(line) for line in (tmp_path / "near.jsonl").read_text().splitlines()]
    assert written == found.rows and len(written) == 3 and len(found.records()) == 6
    assert names[0] in repr(found) and list(found.to_pandas()["rank"]) == [1, 2] * 3
    main(["neighbours", str(place / "F.npy"), names[0]])
    assert f"{by_hand(place, 0)[0][1]:.4f}" in capsys.readouterr().out


def test_many_rows_are_searched_by_an_index_beside_them(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 10)
    features = tmp_path / "F.parquet"
    features.write_bytes((place / "F.parquet").read_bytes())
    names = json.loads((place / "F.files.json").read_text())
    found = lines(capsys, features, names[1])
    assert found["search"] == "index" and (tmp_path / "F.parquet.index").is_file()
    assert found["rows"] == lines(capsys, features, names[1], "--exact")["rows"]
    shorter = np.load(place / "F.npy")[:12]
    with rows_in(features, shorter.shape[1:], {}) as file:
        file.add(names[:12], shorter)
    main(["neighbours", str(features), names[1], "--json"])
    said = capsys.readouterr()
    assert "other features; building it again" in said.err and len(json.loads(said.out)["rows"][0]["neighbours"]) == 10


def test_rows_are_read_in_blocks_of_any_groups(tmp_path, monkeypatch):
    from pyarrow import parquet

    from pcae.inference import stored_features

    values = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float32)
    parquet.write_table(table_of(list(map(str, range(23))), values), tmp_path / "F.parquet", row_group_size=2)
    for module in (blocks, stored_features):
        monkeypatch.setattr(module, "BLOCK", 5)
    features = open_features(tmp_path / "F.parquet")
    read = list(features.blocks())
    assert [len(block) for block in read] == [5, 5, 5, 5, 3] and (np.concatenate(read) == values).all()
    assert (features.at([22, 0, 7]) == values[[22, 0, 7]]).all() and features.names == list(map(str, range(23)))


def refused(capsys, *words) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["neighbours", *map(str, words)])
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert stop.value.code == 2
    return line


def test_what_cannot_be_is_said_in_a_line(place, tmp_path, capsys):
    names = json.loads((place / "F.files.json").read_text())
    bare = tmp_path / "bare.npy"
    bare.write_bytes((place / "F.npy").read_bytes())
    np.save(tmp_path / "tokens.npy", np.zeros((2, 3, 4), np.float32))
    np.save(tmp_path / "empty.npy", np.zeros((0, 4), np.float32))
    np.save(tmp_path / "whole.npy", np.zeros((2, 4), np.int64))
    (tmp_path / "odd.npy").write_bytes(b"no numbers")
    (tmp_path / "odd.parquet").write_bytes(b"no table")
    (tmp_path / "empty").mkdir()
    near = Path(names[0]).name
    for words, reason in [
        ((place / "F.npy", "cat.jpg"), "query 'cat.jpg' is not in"),
        ((place / "F.npy", f"elsewhere/{near}x"), "its first is"),
        ((bare, names[0]), "has no bare.files.json beside it"),
        ((tmp_path / "none.npy", "x"), "is not there; give what pcae embed wrote"),
        ((tmp_path / "tokens.npy", "x"), "without --tokens"),
        ((tmp_path / "empty.npy", "x"), "has no rows"),
        ((tmp_path / "whole.npy", "x"), "no floating-point numbers"),
        ((tmp_path / "odd.npy", "x"), "is no .npy file of numbers"),
        ((tmp_path / "odd.parquet", "x"), "is no .parquet file"),
        ((tmp_path / "empty", "x"), "is a folder without parts"),
        ((place / "encoder.safetensors", "x"), "must end in .npy or .parquet"),
        (("s3://bucket/features", "x"), "is an address; give a path on a disk"),
        ((place / "F.npy", names[0], "--exact", "--index", tmp_path / "i"), "is not used with --exact"),
        ((place / "F.npy", names[0], "--out", tmp_path / "near.csv"), "must end in .jsonl"),
        ((place / "F.npy", names[0], "--index", place / "F.npy"), "no whole index of pcae"),
    ]:
        assert reason in refused(capsys, *words)
    narrow = tmp_path / "narrow.npy"
    np.save(narrow, np.ones((2, 4), np.float32))
    weights = ["--weights", place / "encoder.safetensors", "--device", "cpu"]
    assert "has 4; give the weights that it was made with" in refused(capsys, narrow, place / "photos", *weights)
    with pytest.raises(ValueError, match="need weights"):
        pcae.neighbours(place / "F.npy", [np.zeros((8, 8, 3), np.uint8)])


def test_without_usearch_the_remedy_is_named(place, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "usearch.index", None)
    names = json.loads((place / "F.files.json").read_text())
    assert "pip install 'pcae[scale]'; --exact" in refused(capsys, place / "F.npy", names[0], "--index", "i")


@pytest.mark.parametrize("name", ["F.parquet", "parts"])
def test_queries_by_other_weights_or_another_pooling_are_refused(capsys, place, tmp_path, name):
    torch.manual_seed(1)
    facts = PretrainedFacts(encoder=TINY, mean=[0.5] * 3, std=[0.25] * 3)
    save_model(tmp_path / "other", build_encoder(TINY).vit, facts)
    said = refused(capsys, place / name, place / "photos", "--weights", tmp_path / "other", "--device", "cpu")
    assert f"weights '{tmp_path / 'other'}': '{place / name}' was made by other weights; give the same" in said
    weights = ["--weights", place / "encoder.safetensors", "--device", "cpu"]
    said = refused(capsys, place / name, place / "photos", *weights, "--pool", "cls")
    assert f"pool 'cls': '{place / name}' was made by --pool mean; give the same" in said
