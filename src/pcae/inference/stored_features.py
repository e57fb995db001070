"""Features as `pcae embed` wrote them, read back: a .npy or .parquet file, or a folder of parts."""

import json
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pcae.inference.feature_files import names_beside, values_of
from pcae.search.rows import BLOCK, HeldRows, Rows
from pcae.sharing.part_folder import PartFolder

REMEDY = "give what pcae embed wrote: F.npy, F.parquet, or a folder of parts"


class NpyFeatures(HeldRows):
    """A .npy file, mapped into memory, and the names beside it. Raises ValueError where they are none of features."""

    def __init__(self, path: Path) -> None:
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"features {str(path)!r} is no .npy file of numbers; {REMEDY}") from error
        check_shape(path, values.dtype.kind == "f", values.ndim - 1)
        super().__init__(values)
        self.paths = [path, names_beside(path)]

    @cached_property
    def names(self) -> list[str]:
        """What each row is of."""
        beside = self.paths[1]
        if not beside.is_file():
            raise ValueError(f"features {str(self.paths[0])!r} has no {beside.name} beside it; copy both files")
        names = json.loads(beside.read_text("utf-8"))
        if len(names) != self.count:
            raise ValueError(f"{beside} has {len(names)} names for {self.count} rows; embed the images again")
        return names

    @property
    def made_by(self) -> dict[str, str]:
        """A .npy file does not say it."""
        return {}

    def at(self, rows: list[int]) -> np.ndarray:
        """The features of some rows."""
        return np.asarray(self.values[rows], np.float32)


class ParquetFeatures:
    """Files of .parquet with the columns path and embedding, one after the other.

    Raises ValueError where they are none of features.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.files = paths, list(map(open_parquet, paths))
        self.count: int = sum(file.metadata.num_rows for file in self.files)
        self.width: int = {file.schema_arrow.field("embedding").type.list_size for file in self.files}.pop()

    @cached_property
    def names(self) -> list[str]:
        """What each row is of."""
        return [name for file in self.files for name in file.read(columns=["path"])["path"].to_pylist()]

    @property
    def made_by(self) -> dict[str, str]:
        """Digest of the weights and the pooling, where the file says them."""
        return json.loads((self.files[0].schema_arrow.metadata or {}).get(b"pcae", "{}"))

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, at most BLOCK at a time, of however many groups these are."""
        held: list[np.ndarray] = []
        for some in chain.from_iterable(map(embeddings, self.files)):
            held.append(some)
            if sum(map(len, held)) >= BLOCK:
                whole = np.concatenate(held)
                yield whole[:BLOCK]
                held = [whole[BLOCK:]]
        whole = np.concatenate(held) if held else np.empty((0, self.width), np.float32)
        if len(whole):
            yield whole

    def at(self, rows: list[int]) -> np.ndarray:
        """The features of some rows."""
        found, start, wanted = np.empty((len(rows), self.width), np.float32), 0, np.asarray(rows)
        for block in self.blocks():
            here = (wanted >= start) & (wanted < start + len(block))
            found[here] = block[wanted[here] - start]
            start += len(block)
        return found


Features = NpyFeatures | ParquetFeatures


def open_features(place: Path) -> Features:
    """The features in a file or folder. Raises ValueError where there are none."""
    if place.is_dir():
        parts = PartFolder(str(place))
        paths = [place / parts.part(number) for number in sorted(parts.finished())]
        if not paths:
            raise ValueError(f"features {str(place)!r} is a folder without parts; {REMEDY}")
        return ParquetFeatures(paths)
    if not place.is_file():
        raise ValueError(f"features {str(place)!r} is not there; {REMEDY}")
    if place.suffix not in {".npy", ".parquet"}:
        raise ValueError(f"features {str(place)!r} must end in .npy or .parquet; {REMEDY}")
    return NpyFeatures(place) if place.suffix == ".npy" else ParquetFeatures([place])


def open_parquet(path: Path) -> Any:
    """A file of features. Raises ValueError for another one."""
    from pyarrow import ArrowException, parquet, types

    try:
        file = parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise ValueError(f"features {str(path)!r} is no .parquet file; {REMEDY}") from error
    kinds = {field.name: field.type for field in file.schema_arrow}
    if not {"path", "embedding"} <= kinds.keys() or not types.is_fixed_size_list(kinds["embedding"]):
        raise ValueError(f"features {str(path)!r} has no columns path and embedding (lists of one length); {REMEDY}")
    inner = kinds["embedding"].value_type
    tokens = types.is_fixed_size_list(inner)
    check_shape(path, tokens or types.is_floating(inner), 1 + tokens)
    return file


def check_shape(path: Path, numbers: bool, axes: int) -> None:
    """Raise ValueError for what are no pooled features: `axes` of an image, and whether they are floats."""
    if not numbers:
        raise ValueError(f"features {str(path)!r} holds no floating-point numbers; {REMEDY}")
    if axes != 1:
        what = "all tokens of each image" if axes == 2 else f"{axes + 1} axes"
        raise ValueError(f"features {str(path)!r} holds {what}, not one row; embed the images without --tokens")


def embeddings(file: Any) -> Iterator[np.ndarray]:
    """The rows of a file, group by group."""
    import pyarrow

    for batch in file.iter_batches(batch_size=BLOCK, columns=["embedding"]):
        yield values_of(pyarrow.chunked_array([batch.column(0)])).astype(np.float32, copy=False)


def files_of(features: Features) -> list[list[Any]]:
    """Names, bytes and times of change of the files: while they are the same, so are the features."""
    kept = features.paths[:1] if isinstance(features, NpyFeatures) else features.paths
    stats = [(path.name, path.stat()) for path in kept]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def places_of(features: Features, names: list[str], shown: Path) -> list[int]:
    """The rows of images by their names, each the first of its name. Raises ValueError for one that is not there."""
    wanted, found = set(names), {}
    for row, name in enumerate(features.names):
        if name in wanted:
            found.setdefault(name, row)
    missing = [name for name in names if name not in found]
    if missing:
        near = next((name for name in features.names if name.endswith(f"/{Path(missing[0]).name}")), None)
        hint = f"did you mean {near!r}?" if near else f"its first is {features.names[0]!r};"
        raise ValueError(f"query {missing[0]!r} is not in {str(shown)!r}; {hint} --weights W embeds any image")
    return [found[name] for name in names]


def check_rows(rows: Rows, place: Path) -> None:
    """Raise ValueError where there are none."""
    if not rows.count:
        raise ValueError(f"features {str(place)!r} has no rows; embed images first")
