"""An index of features in one file: a graph by usearch in which neighbours are found without a look at most rows."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pcae.search.copies import find_copies, fingerprint_of, with_copies
from pcae.search.exact import Nearest
from pcae.search.rows import Rows, directions
from pcae.terminal import LiveLine
from pcae.writing import in_one_move

MAGIC = b"pcae-ix1"
"""The last bytes of the file."""
CONNECTIVITY, SEARCHED_TO_ADD, SEARCHED = 16, 128, 128
"""Ties of a row in the graph, and candidates that are kept while a row is added and while neighbours are looked for."""


@dataclass(frozen=True)
class Facts:
    """What an index is of. files: names, bytes and times of change of the features' files. fingerprint: of all rows.

    graph: bytes of the graph, with which the file begins; then come `copies`, pairs of rows, and these facts.
    """

    files: list[list[Any]]
    fingerprint: str
    rows: int
    width: int
    graph: int
    copies: int


@dataclass(frozen=True)
class Index:
    """An index that is mapped into memory. pairs: as `Copies` has them."""

    facts: Facts
    graph: Any
    pairs: np.ndarray

    def neighbours(self, queries: np.ndarray, neighbours: int) -> Nearest:
        """So many near rows of each query, or all rows where there are fewer; nearly always the nearest.

        Where the graph leads to fewer, the last rows are -1.
        """
        most = min(neighbours, self.facts.rows)
        found = self.graph.search(directions(queries), min(most, len(self.graph)), threads=1)
        similarity, rows = np.full((len(queries), most), -np.inf, np.float32), np.full((len(queries), most), -1)
        for query, near in enumerate([found] if len(queries) == 1 else found):  # for one query, usearch has no batch
            one = with_copies(1 - near.distances, near.keys, self.pairs, most)
            similarity[query, : len(one.rows)], rows[query, : len(one.rows)] = one
        return Nearest(similarity, rows)


def index_of(rows: Rows, files: list[list[Any]], path: Path, threads: int, say: Callable[[str], None]) -> Index:
    """The index of these rows at a path, built where it is not there or is of other rows.

    files: names, bytes and times of change of the features' files; where they are as they were, no row is read. Raises
    ValueError where usearch is not installed or the file is none of ours.
    """
    usearch = import_usearch()
    facts = read_facts(path) if path.exists() else None
    if facts is not None and facts.files != files and facts.fingerprint != fingerprint_of(rows):
        say(f"index {str(path)!r} is of other features; building it again")
        facts = None
    if facts is None:
        build(usearch, rows, files, path, threads)
    return open_index(usearch, path)


def import_usearch() -> Any:
    """The package usearch. Raises ValueError with the remedy where it is not installed."""
    try:
        return import_module("usearch.index")
    except ImportError as error:
        raise ValueError(
            "an index needs the package usearch: pip install 'pcae[scale]'; --exact searches without one"
        ) from error


def build(usearch: Any, rows: Rows, files: list[list[Any]], path: Path, threads: int) -> None:
    """Write the index in one move. With one thread the same rows make the same file."""
    copies = find_copies(rows)
    graph = usearch.Index(
        ndim=rows.width,
        metric=usearch.MetricKind.IP,  # of rows at length 1
        dtype="f32",  # else usearch rounds to bfloat16
        connectivity=CONNECTIVITY,
        expansion_add=SEARCHED_TO_ADD,
    )
    with_first = np.ones(rows.count, bool)
    with_first[copies.pairs[:, 0]] = False
    fill(graph, rows, with_first, threads, f"building {path.name}")
    with in_one_move(path) as beside:
        try:
            graph.save(str(beside))
        except RuntimeError as error:  # as usearch says that the disk is full
            raise ValueError(f"{path} cannot be written: {error}") from error
        facts = Facts(files, copies.fingerprint, rows.count, rows.width, beside.stat().st_size, len(copies.pairs))
        append(beside, facts, copies.pairs)


def fill(graph: Any, rows: Rows, wanted: np.ndarray, threads: int, what: str) -> None:
    """Add the wanted rows by their numbers."""
    line, start = LiveLine(what), 0
    try:
        for block in rows.blocks():
            places = start + np.flatnonzero(wanted[start : start + len(block)])
            if len(places):
                graph.add(places.astype(np.uint64), directions(block)[places - start], threads=threads)
            start += len(block)
            line(f"{start:,} of {rows.count:,} rows")
    finally:
        line.stop()


def append(path: Path, facts: Facts, pairs: np.ndarray) -> None:
    """Write what stands behind the graph."""
    said = json.dumps(asdict(facts)).encode()
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(pairs, "<i8").tobytes() + said + len(said).to_bytes(8, "little") + MAGIC)


def read_facts(path: Path) -> Facts:
    """What an index is of. Raises ValueError for a file that is no index, or not a whole one."""
    odd = ValueError(f"index {str(path)!r} is no whole index of pcae; remove it, or name another file")
    if not path.is_file() or path.stat().st_size < 16:
        raise odd
    with path.open("rb") as file:
        end = file.seek(-16, 2)
        length, magic = int.from_bytes(file.read(8), "little"), file.read(8)
        if magic != MAGIC or length > end:
            raise odd
        file.seek(end - length)
        facts = Facts(**json.loads(file.read(length)))
    if facts.graph + 16 * facts.copies + length != end:
        raise odd
    return facts


def open_index(usearch: Any, path: Path) -> Index:
    """An index, mapped into memory."""
    facts = read_facts(path)
    graph = usearch.Index.restore(str(path), view=True, expansion_search=SEARCHED)
    with path.open("rb") as file:
        file.seek(facts.graph)
        pairs = np.frombuffer(file.read(16 * facts.copies), "<i8").reshape(-1, 2)
    return Index(facts, graph, pairs)
