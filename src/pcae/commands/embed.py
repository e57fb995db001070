"""`pcae embed`: features of images to a .npy or .parquet file, the same every time."""

import json

from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import embed_in_batches
from pcae.inference.embed import check, names_beside
from pcae.inference.feature_files import rows_in
from pcae.inference.trained import open_shown, open_trained
from pcae.settings.verbs.embed import EmbedConfig
from pcae.terminal import as_json, bar, console
from pcae.writing import replace_text


def run(config: EmbedConfig) -> None:
    """Embed and write."""
    check(config)
    model = open_trained(config.model)
    bad_files = open_shown(config.data, config.shown, model)
    found = embed_in_batches(
        model,
        bad_files,
        "tokens" if config.tokens else config.pool,
        batch_size=config.batch_size,
        workers=config.shown.workers,
        follow=bar("embedding"),
    )
    rows, columns = model.encoder.grid
    shape = (rows * columns, model.encoder.width) if config.tokens else (model.encoder.width,)
    names: list[str] = []
    with rows_in(config.out, shape) as file:
        for indices, features in found:
            read = [bad_files.images.names[index] for index in indices]
            file.add(read, features.numpy())
            names += read
    if config.out.suffix == ".npy":
        replace_text(names_beside(config.out), json.dumps(names, indent=0))
    report(config, len(names), shape, bad_files)


def report(config: EmbedConfig, images: int, shape: tuple[int, ...], bad_files: BadFiles) -> None:
    """Say what was written."""
    result = {"out": str(config.out), "images": images, "features": shape[-1], "bad_files": bad_files.by_name()}
    if config.json:
        as_json(result | ({"tokens": shape[0]} if config.tokens else {}))
    else:
        console.print(f"{' x '.join(map(str, (images, *shape)))} features in {config.out}")
    if bad_files.found:
        console.print(f"{bad_files.describe()}; they have no row")
