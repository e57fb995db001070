"""Features of images to a file, a row an image, the same every time."""

import json
from dataclasses import dataclass
from pathlib import Path

from pcae.evaluation.features import embed_in_batches
from pcae.inference.feature_files import rows_in
from pcae.inference.trained import open_shown, open_trained, say_left_out
from pcae.settings.verbs.embed import EmbedConfig
from pcae.terminal import bar
from pcae.writing import check_writable, replace_text


@dataclass(frozen=True)
class Embedded:
    """What was written: of so many images so many features each, of every token where `tokens` says how many."""

    out: Path
    images: int
    features: int
    bad_files: dict[str, str]
    tokens: int | None


def check(config: EmbedConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if config.tokens and config.pool != "mean":
        raise ValueError(f"tokens are not pooled; leave --pool {config.pool} out")
    check_writable(config.out, ".npy", ".parquet")
    if config.out.suffix == ".npy":
        check_writable(names_beside(config.out))


def names_beside(out: Path) -> Path:
    """Where the images of a .npy file's rows stand."""
    return out.with_suffix(".files.json")


def embed_images(config: EmbedConfig) -> Embedded:
    """Embed and write. Raises ValueError for what cannot be, and when too many images cannot be read."""
    check(config)
    model = open_trained(config.model)
    bad_files = open_shown(config.data, config.shown, model)
    how, workers = "tokens" if config.tokens else config.pool, config.shown.workers
    found = embed_in_batches(
        model, bad_files, how, batch_size=config.batch_size, workers=workers, follow=bar("embedding")
    )
    tokens, width = model.encoder.grid[0] * model.encoder.grid[1], model.encoder.width
    names: list[str] = []
    with rows_in(config.out, (tokens, width) if config.tokens else (width,)) as file:
        for indices, features in found:
            read = [bad_files.images.names[index] for index in indices]
            file.add(read, features.numpy())
            names += read
    if config.out.suffix == ".npy":
        replace_text(names_beside(config.out), json.dumps(names, indent=0))
    say_left_out(bad_files, "they have no row")
    return Embedded(config.out, len(names), width, bad_files.by_name(), tokens if config.tokens else None)
