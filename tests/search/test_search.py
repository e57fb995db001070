"""Search in features: exact ones against every similarity written out, an index against exact search."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pcae.search import rows as blocks
from pcae.search.copies import find_copies, fingerprint_of
from pcae.search.exact import Nearest, exact_neighbours, in_order, without
from pcae.search.index import Index, index_of, read_facts
from pcae.search.rows import HeldRows

NOISE = np.random.default_rng(0).standard_normal((2_000, 24)).astype(np.float32)


def by_hand(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The cosine similarity of a query to every row, in float64."""
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    return rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


def check(found: Nearest, rows: np.ndarray, queries: np.ndarray, neighbours: int) -> None:
    """That the neighbours have the largest of all similarities, in order."""
    for place, query in enumerate(queries):
        similarity = by_hand(rows, query)
        assert len(set(found.rows[place])) == neighbours
        assert np.allclose(similarity[found.rows[place]], found.similarity[place], atol=1e-5)
        assert np.allclose(np.sort(similarity)[::-1][:neighbours], found.similarity[place], atol=1e-5)


def built(rows: np.ndarray, path: Path, files: list | None = None, threads: int = 1) -> tuple[Index, list[str]]:
    """An index at a path, and what was said."""
    said: list[str] = []
    return index_of(HeldRows(rows), files or [], path, threads, said.append), said


@pytest.mark.parametrize("block", [7, 500, 5_000])
def test_exact_search_finds_the_largest_similarities_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(blocks, "BLOCK", block)
    check(exact_neighbours(HeldRows(NOISE), NOISE[:9] * 3 + 1, 10), NOISE, NOISE[:9] * 3 + 1, 10)


def test_there_are_no_more_neighbours_than_rows():
    assert exact_neighbours(HeldRows(NOISE[:3]), NOISE[:2], 10).rows.shape == (2, 3)


def test_equally_near_rows_come_in_order():
    found = in_order(np.array([[0.5, 0.9, 0.5, 0.9]]), np.array([[7, 6, 2, 4]]))
    assert found.rows.tolist() == [[4, 6, 2, 7]] and found.similarity.tolist() == [[0.9, 0.9, 0.5, 0.5]]


def test_a_row_of_zeros_is_like_nothing_and_nan_is_refused():
    rows = NOISE[:5].copy()
    rows[2] = 0
    assert exact_neighbours(HeldRows(rows), rows[2:3], 5).similarity.tolist() == [[0.0] * 5]
    rows[2, 3] = np.nan
    with pytest.raises(ValueError, match="no numbers"):
        exact_neighbours(HeldRows(rows), NOISE[:1], 5)


def test_a_query_is_no_neighbour_of_its_own():
    found = Nearest(np.array([[1.0, 0.9, 0.8], [1.0, 1.0, 1.0]]), np.array([[4, 5, 6], [7, 8, 9]]))
    left = without(found, np.array([5, 1]))
    assert left.rows.tolist() == [[4, 6], [7, 8]] and left.similarity.tolist() == [[1.0, 0.8], [1.0, 1.0]]


def test_copies_are_equal_rows_and_the_fingerprint_is_of_all(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 4)
    rows = NOISE[[3, 1, 3, 3, 2, 1, 0]]
    copies = find_copies(HeldRows(rows))
    assert sorted(map(tuple, copies.pairs.tolist())) == [(2, 0), (3, 0), (5, 1)]
    assert copies.fingerprint == fingerprint_of(HeldRows(rows)) == hashlib.blake2b(rows, digest_size=16).hexdigest()
    assert fingerprint_of(HeldRows(rows[::-1].copy())) != copies.fingerprint


def test_an_index_finds_what_exact_search_finds(tmp_path):
    index, said = built(NOISE, tmp_path / "index")
    exact, near = exact_neighbours(HeldRows(NOISE), NOISE[:200], 10), index.neighbours(NOISE[:200], 10)
    shared = sum(len(set(one) & set(other)) for one, other in zip(exact.rows, near.rows, strict=True))
    assert shared >= 0.95 * 2_000 and said == []
    assert near.similarity.dtype == np.float32
    assert np.allclose(near.similarity[:, 0], 1, atol=1e-6)  # bfloat16 would be off by 1e-3


def test_a_thousand_copies_hide_nothing(tmp_path):
    """Neighbours of a copy are the copies; those of others are what they would be without copies."""
    rows = np.concatenate([np.repeat(NOISE[:1], 1_000, axis=0), NOISE[1:]])
    index, _ = built(rows, tmp_path / "index")
    assert index.neighbours(rows[:1], 1_000).rows.tolist() == [list(range(1_000))]
    assert len(index.graph) == len(NOISE)
    beside = index.neighbours(NOISE[1:101], 10)
    assert (beside.rows[:, 0] == np.arange(1_000, 1_100)).all()
    exact = exact_neighbours(HeldRows(rows), NOISE[1:101], 10)
    assert sum(len(set(one) & set(other)) for one, other in zip(exact.rows, beside.rows, strict=True)) >= 950


def test_only_copies_are_neighbours_too(tmp_path):
    rows = np.repeat(NOISE[:1], 30, axis=0)
    assert built(rows, tmp_path / "index")[0].neighbours(rows[:1], 10).rows.tolist() == [list(range(10))]


def test_the_same_features_make_the_same_file(tmp_path):
    for name in ("one", "two"):
        built(NOISE, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_index_is_built_once_and_again_for_other_features(tmp_path):
    path = tmp_path / "index"
    built(NOISE, path, [["F.npy", 1, 1]])
    first = path.stat().st_mtime_ns
    assert built(NOISE, path, [["F.npy", 1, 1]])[1] == built(NOISE, path, [["moved.npy", 1, 2]])[1] == []
    assert path.stat().st_mtime_ns == first
    index, said = built(NOISE[:1_000], path, [["F.npy", 1, 3]])
    assert "other features" in said[0] and index.facts.rows == 1_000 == index.neighbours(NOISE[:1], 2_000).rows.shape[1]
    assert read_facts(path).files == [["F.npy", 1, 3]]
    assert [one.name for one in tmp_path.iterdir()] == ["index"]


def test_what_is_no_index_stays(tmp_path):
    path = tmp_path / "index"
    for content in (b"", b"my own notes, which are longer than sixteen bytes"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no whole index"):
            built(NOISE, path)
        assert path.read_bytes() == content
    path.unlink()
    built(NOISE, path)
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(ValueError, match="no whole index"):
        built(NOISE, path)


def test_a_build_that_fails_leaves_nothing(tmp_path):
    rows = NOISE.copy()
    rows[1_500, 0] = np.inf
    with pytest.raises(ValueError, match="no numbers"):
        built(rows, tmp_path / "index")
    assert list(tmp_path.iterdir()) == []
