"""Features of images to a file, a row an image, the same every time."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.features import check_fit, embed_in_batches, features_of
from pcae.inference.answered_parts import answer_in_parts
from pcae.inference.feature_files import HeldRows, Rows, names_beside, rows_in, schema_of, table_of, values_of
from pcae.inference.trained import facts_of, open_shown, open_trained, say_left_out, whole
from pcae.model.pretrained import Pretrained
from pcae.results import Block, Result, Table, import_pandas
from pcae.settings.choices import Pool
from pcae.settings.values import place_of
from pcae.settings.verbs.embed import EmbedConfig
from pcae.sharing.contents import digest_of
from pcae.sharing.in_parts import Work
from pcae.sharing.part_folder import PartFolder, check_file, is_folder
from pcae.terminal import bar
from pcae.writing import check_writable

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 8
"""Rows and columns in the table of a result."""


@dataclass(frozen=True)
class Embedded:
    """What was written: of so many images so many features each, of every token where `tokens` says how many.

    shared: how, where it was to a folder.
    """

    out: Path | str
    images: int
    features: int
    bad_files: dict[str, str]
    tokens: int | None
    shared: dict[str, float] | None = None


@dataclass(frozen=True, repr=False)
class Embeddings(Result):
    """Features in memory, float32: a row an image, or of every image one a patch token. names: of the images.

    bad_files: why others have no row, by name. out: the file that they were written to.
    """

    features: np.ndarray
    names: list[str]
    bad_files: dict[str, str]
    out: Path | None = None

    def blocks(self) -> list[Block]:
        """The first features of the first images."""
        shape = " x ".join(map(str, self.features.shape))
        flat = self.features.reshape(len(self.names), -1)[:SHOWN, :SHOWN]
        rows = [[name, *(f"{value:.3g}" for value in row)] for name, row in zip(self.names, flat, strict=False)]
        return [Table(f"{shape} features", ["image", *map(str, range(flat.shape[1]))], rows)]

    def records(self) -> list[dict[str, Any]]:
        """A row for each image."""
        pairs = zip(self.names, self.features, strict=True)
        return [{"name": name, "features": row.tolist()} for name, row in pairs]

    def to_pandas(self) -> "DataFrame":
        """A row for each image, by its name, or for each of its tokens, by number too; a column for each feature."""
        pandas = import_pandas()
        if self.features.ndim == 2:
            return pandas.DataFrame(self.features, index=self.names)
        keys = pandas.MultiIndex.from_product([self.names, range(self.features.shape[1])], names=["name", "token"])
        return pandas.DataFrame(self.features.reshape(len(keys), -1), index=keys)


def check(config: EmbedConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if config.tokens and config.pool != "mean":
        raise ValueError(f"tokens are not pooled; leave --pool {config.pool} out")
    out: Path | None = config.out  # which only the command line needs
    if out is None or is_folder(out):
        return
    check_file(out, ".npy", ".parquet")
    if out.suffix == ".npy":
        check_writable(names_beside(out))


def embed_images(config: EmbedConfig) -> Embedded:
    """Embed and write. Raises ValueError for what cannot be, and when too many images cannot be read."""
    check(config)
    if is_folder(config.out):
        return embed_in_parts(config)
    model = open_trained(config.model)
    bad_files, shape = open_shown(config.data, config.shown, model), shape_of(how_of(config), model)
    with rows_in(config.out, shape, made_by(model, how_of(config))) as file:
        embed_into([file], config, model, bad_files)
    tokens = shape[0] if config.tokens else None
    return Embedded(config.out, file.count, shape[-1], bad_files.by_name(), tokens)


def embed_in_parts(config: EmbedConfig) -> Embedded:
    """Embed into a folder of parts; every process calls it."""
    how = how_of(config)

    def work_of(model: Pretrained, images: Images) -> Work:
        check_fit(model.facts, images)
        facts = partial(facts_of, model, images, config.data, {"pool": how, "batch_size": config.batch_size})
        schema = schema_of(shape_of(how, model), made_by(model, how))
        answer = partial(encoded, model, images.names, how)
        return Work("embedding", whole(model, images), facts, schema, answer, "they have no row")

    model, done = answer_in_parts(config, config.out, work_of)
    tokens = shape_of(how, model)[0] if config.tokens else None
    return Embedded(place_of(config.out), done.images, model.encoder.width, done.bad_files, tokens, done.numbers())


def encoded(model: Pretrained, names: Sequence[str], how: Pool | Literal["tokens"], batch: Batch) -> Any:
    """The features of a batch with the names of its images, as pyarrow has them."""
    named = [names[index] for index in batch.indices]
    if not named:
        return schema_of(shape_of(how, model)).empty_table()
    return table_of(named, features_of(model, batch, how).numpy())


def embed_in_memory(config: EmbedConfig) -> Embeddings:
    """Embed, and write too where `out` is not None. Raises ValueError as `embed_images` does."""
    check(config)
    out: Path | None = config.out
    if out is not None and is_folder(out):
        found = embed_in_parts(config)
        table = PartFolder(place_of(out)).table()
        return Embeddings(values_of(table["embedding"]), table["path"].to_pylist(), found.bad_files, out)
    model = open_trained(config.model)
    bad_files, shape = open_shown(config.data, config.shown, model), shape_of(how_of(config), model)
    held = HeldRows(shape)
    with nullcontext() if out is None else rows_in(out, shape, made_by(model, how_of(config))) as file:
        embed_into([held] if file is None else [held, file], config, model, bad_files)
    return Embeddings(held.values(), held.names, bad_files.by_name(), out)


def embed_into(sinks: Sequence[Rows], config: EmbedConfig, model: Pretrained, bad_files: BadFiles) -> None:
    """Give the features to what takes them, batch by batch, and name the images that could not be read."""
    workers = config.shown.workers
    found = embed_in_batches(
        model, bad_files, how_of(config), batch_size=config.batch_size, workers=workers, follow=bar("embedding")
    )
    for indices, features in found:
        for sink in sinks:
            sink.add([bad_files.images.names[index] for index in indices], features.numpy())
    say_left_out(bad_files, "they have no row")


def made_by(model: Pretrained, how: Pool | Literal["tokens"]) -> dict[str, str]:
    """What features say of how they were made, so that others are not compared with them."""
    return {"weights": digest_of(model), "pool": how}


def how_of(config: EmbedConfig) -> Pool | Literal["tokens"]:
    """What stands for an image."""
    return "tokens" if config.tokens else config.pool


def shape_of(how: Pool | Literal["tokens"], model: Pretrained) -> tuple[int, ...]:
    """The features of one image: pooled, or of each of its tokens."""
    tokens, width = model.encoder.grid[0] * model.encoder.grid[1], model.encoder.width
    return (tokens, width) if how == "tokens" else (width,)
