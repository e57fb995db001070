"""The nearest stored features of images, by cosine similarity, exactly or through an index."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pcae.evaluation.features import embed_in_batches
from pcae.inference.stored_features import Features, check_rows, files_of, open_features, places_of
from pcae.inference.trained import open_shown, open_trained, say_left_out
from pcae.results import Block, Result, Table
from pcae.search.exact import Nearest, exact_neighbours, without
from pcae.search.index import import_usearch, index_of
from pcae.settings.sources import each, given_in
from pcae.settings.trained import TrainedConfig
from pcae.settings.verbs.embed import NeighboursConfig
from pcae.sharing.contents import digest_of
from pcae.terminal import bar, console
from pcae.writing import check_writable, in_one_move

EXACT_UP_TO = 100_000
"""Rows up to which every one is compared."""
SHOWN = 20
"""Queries in the tables of a result."""


@dataclass(frozen=True)
class Queries:
    """What neighbours are looked for. rows: where the queries stand among the features, if they do."""

    names: list[str]
    values: np.ndarray
    rows: np.ndarray | None = None
    bad_files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Neighbours(Result):
    """Images like others. rows: of each query its `path`, and `neighbours`: `path` and `similarity`, nearest first.

    search: exact or index. bad_files: why queries have no row, by name. out: the file that they were written to.
    """

    rows: list[dict[str, Any]]
    search: str
    bad_files: dict[str, str]
    out: Path | None = None

    def blocks(self) -> list[Block]:
        """The neighbours of the first queries."""
        left = len(self.rows) - SHOWN
        columns = ["neighbour", "similarity"]
        tables = [
            Table(row["path"], columns, [[one["path"], f"{one['similarity']:.4f}"] for one in row["neighbours"]])
            for row in self.rows[:SHOWN]
        ]
        return [*tables, *([f"and {left} more images"] * (left > 0))]

    def records(self) -> list[dict[str, Any]]:
        """A row for each neighbour of each query, by rank from 1."""
        return [
            {"path": row["path"], "rank": rank, "neighbour": one["path"], "similarity": one["similarity"]}
            for row in self.rows
            for rank, one in enumerate(row["neighbours"], start=1)
        ]


def find_neighbours(config: NeighboursConfig) -> Neighbours:
    """Search, and write what is found where `out` is given. Raises ValueError for what cannot be."""
    check(config)
    features = open_features(config.features)
    check_rows(features, config.features)
    indexed = not config.exact and (config.index is not None or features.count > EXACT_UP_TO)
    if indexed:
        import_usearch()
        check_writable(index_path(config))
    queries = embedded(config, features) if config.weights is not None else stored(config, features)
    found = search(config, features, queries, indexed)
    result = Neighbours(
        lines_of(queries, found, features.names), "index" if indexed else "exact", queries.bad_files, config.out
    )
    if config.out is not None:
        write(result.rows, config.out)
    return result


def check(config: NeighboursConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if config.exact and config.index is not None:
        raise ValueError(f"index {str(config.index)!r} is not used with --exact; leave one of them out")
    if config.weights is None and given_in(config.data):
        raise ValueError("queries that are no paths in the features need weights, which embed them")
    if config.out is not None:
        check_writable(config.out, ".jsonl")


def index_path(config: NeighboursConfig) -> Path:
    """Where the index lies."""
    return config.index or config.features.with_name(f"{config.features.name}.index")


def stored(config: NeighboursConfig, features: Features) -> Queries:
    """Queries that are among the features."""
    names = list(each(config.data))
    rows = places_of(features, names, config.features)
    return Queries(names, features.at(rows), np.array(rows))


def embedded(config: NeighboursConfig, features: Features) -> Queries:
    """Queries that are images of any kind, embedded as `pcae embed` does."""
    trained = TrainedConfig(weights=config.weights or "", image_size=config.image_size, device=config.device)
    model = open_trained(trained)
    if model.encoder.width != features.width:
        raise ValueError(
            f"weights {str(config.weights)!r} make {model.encoder.width} features, {str(config.features)!r} has "
            f"{features.width}; give the weights that it was made with"
        )
    check_same(config, features.made_by, {"weights": digest_of(model), "pool": config.pool})
    bad_files = open_shown(config.data, config.shown, model)
    size, workers = config.batch_size, config.shown.workers
    found = embed_in_batches(
        model, bad_files, config.pool, batch_size=size, workers=workers, follow=bar("embedding queries")
    )
    batches = [(indices, values.numpy()) for indices, values in found]
    say_left_out(bad_files, "nothing was looked for")
    names = [bad_files.images.names[index] for indices, _ in batches for index in indices]
    values = np.concatenate([values for _, values in batches])
    return Queries(names, values, bad_files=bad_files.by_name())


def check_same(config: NeighboursConfig, made_by: dict[str, str], ours: dict[str, str]) -> None:
    """Raise ValueError where the features say that they were made by other weights or another pooling."""
    for name, what in (("weights", "by other weights"), ("pool", f"by --pool {made_by.get('pool')}")):
        if made_by.get(name, ours[name]) != ours[name]:
            asked = config.weights if name == "weights" else config.pool
            raise ValueError(f"{name} {str(asked)!r}: {str(config.features)!r} was made {what}; give the same")


def search(config: NeighboursConfig, features: Features, queries: Queries, indexed: bool) -> Nearest:
    """The nearest rows of each query; one that is among the features is no neighbour of its own."""
    wanted = config.neighbours + (queries.rows is not None)
    if indexed:
        index = index_of(features, files_of(features), index_path(config), config.index_threads, console.print)
        found = index.neighbours(queries.values, wanted)
    else:
        found = exact_neighbours(features, queries.values, wanted)
    return found if queries.rows is None else without(found, queries.rows)


def lines_of(queries: Queries, found: Nearest, names: list[str]) -> list[dict[str, Any]]:
    """A line for each query."""
    return [
        {
            "path": name,
            "neighbours": [named(names[row], value) for row, value in zip(rows, near, strict=True) if row >= 0],
        }
        for name, rows, near in zip(queries.names, found.rows.tolist(), found.similarity.tolist(), strict=True)
    ]


def named(name: str, similarity: float) -> dict[str, Any]:
    """A neighbour as JSON has it."""
    return {"path": name, "similarity": round(similarity, 6)}


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """A line of JSON for each query."""
    with in_one_move(out) as beside, beside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
