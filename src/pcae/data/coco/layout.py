"""Where COCO-format annotations and their images lie: COCO's folders, Roboflow's, train.json and val.json, a file."""

from pathlib import Path
from typing import NamedTuple

from pcae.data.tables.listing import FOLDERS
from pcae.settings.choices import Split
from pcae.settings.values import expand

ROBOFLOW = "_annotations.coco.json"
REMEDY = (
    "a folder has annotations/instances_{name}*.json beside {name}*/, {name}/_annotations.coco.json, or {name}.json "
    "beside images/; or name the .json file itself"
)


class CocoFiles(NamedTuple):
    """A file of annotations, the folders that its images may lie in, the likeliest first, and whether the user gave
    the folder."""

    annotations: Path
    folders: list[Path]
    given: bool = False


def find_coco(data: str, split: Split = "train", images: str | None = None) -> CocoFiles:
    """The annotations of a split of DATA: a folder in COCO's layout, in Roboflow's, with train.json and val.json in
    it, or a .json file, which is every split.

    images: the folder of the images, where it is another one. Raises ValueError with the remedy.
    """
    path = expand(data)
    if not path.exists():
        raise ValueError(f"data {data!r} is neither a folder nor a .json file; check the path")
    if path.is_file() and path.suffix.lower() != ".json":
        raise ValueError(f"data {data!r} is no .json file; object detection needs annotations in COCO's format")
    annotations = path if path.is_file() else in_folder(path, split)
    if images is None:
        return CocoFiles(annotations, around(annotations))
    if not expand(images).is_dir():
        raise ValueError(f"images {images!r} is no folder; give the one that the files named in {data!r} lie in")
    return CocoFiles(annotations, [expand(images)], given=True)


def in_folder(folder: Path, split: Split) -> Path:
    """The one file of annotations that a folder has for a split. Raises ValueError for none and for several."""
    for name in FOLDERS[split]:
        coco = sorted((folder / "annotations").glob(f"instances_{name}*.json"))
        if len(coco) > 1:
            raise ValueError(
                f"data {str(folder)!r} has {', '.join(path.name for path in coco)} for {split}; name the one to read"
            )
        found = [*coco, folder / name / ROBOFLOW, folder / f"{name}.json", folder / "annotations" / f"{name}.json"]
        there = next((path for path in found if path.is_file()), None)
        if there:
            return there
    raise ValueError(
        f"data {str(folder)!r} has no COCO annotations for {split}; {REMEDY.format(name=FOLDERS[split][0])}"
    )


def around(annotations: Path) -> list[Path]:
    """Folders beside a file of annotations, below it, and beside its own folder."""
    beside, name = annotations.parent, annotations.stem.removeprefix("instances_")
    inside = [place / part for place in (beside, beside.parent) for part in (name, f"images/{name}", "images", "data")]
    return [beside, *inside, beside.parent]
