"""`pcae embed`: features of images to a .npy or .parquet file, the same every time."""

from typing import Any

from pcae.inference.embed import embed_images
from pcae.settings.verbs.embed import EmbedConfig
from pcae.terminal import answer, console


def run(config: EmbedConfig) -> None:
    """Embed, and say what was written."""
    found = embed_images(config)
    answer({name: value for name, value in vars(found).items() if value is not None}, config.json, show)


def show(found: dict[str, Any]) -> None:
    """Say what was written."""
    shape = [str(found[name]) for name in ("images", "tokens", "features") if name in found]
    console.print(f"{' x '.join(shape)} features in {found['out']}")
