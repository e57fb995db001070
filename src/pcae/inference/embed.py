"""TODO."""

from pathlib import Path

from pcae.settings.verbs.embed import EmbedConfig
from pcae.writing import check_writable


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
