"""Files -> batches: image files, lists, shards, packed folders, objects of the caller's, COCO."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcae.data.batches import pixel_statistics
    from pcae.data.crops import RandomCrops, WholeImages
    from pcae.data.files.decode import Unreadable
    from pcae.data.images import open_images
    from pcae.data.opened import Images

_PUBLIC = {
    "Images": "opened",
    "RandomCrops": "crops",
    "Unreadable": "files.decode",
    "WholeImages": "crops",
    "open_images": "images",
    "pixel_statistics": "batches",
}
__all__ = ["Images", "RandomCrops", "Unreadable", "WholeImages", "open_images", "pixel_statistics"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"pcae.data.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'pcae.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
