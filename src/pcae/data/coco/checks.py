"""What a file of COCO annotations must hold to be read at all, and what it says."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from pcae.data.files.bounds import MOST_PIXELS

Id = int | str
"""What images, categories and annotations are called by; 7 and "7" are the same."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(gt=0)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a file of annotations has it."""

    id: Id
    file_name: str | None = None
    coco_url: str | None = None
    height: Side | None = None
    width: Side | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of object."""

    id: Id
    name: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object in an image, or a crowd of them that nobody counted; bbox has left, top, width and height."""

    image_id: Id
    category_id: Id
    bbox: Annotated[Box | None, BeforeValidator(lambda box: box or None)] = None
    id: Id | None = None
    segmentation: Annotated[Any, BeforeValidator(lambda said: None if said == [[]] else said)] = None
    area: Number | None = None
    iscrowd: Annotated[int, Field(ge=0, le=1), BeforeValidator(lambda said: said or 0)] = 0


@dataclass(frozen=True, slots=True)
class Content:
    """A file of annotations, less what nobody here asks for."""

    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


CONTENT = TypeAdapter(Content)


def parse(path: Path) -> Content:
    """The content of a file of annotations. Raises ValueError naming the first place that is not as it must be."""
    try:
        return CONTENT.validate_python(parse_json(path))  # of text, pydantic takes twice the memory
    except ValidationError as error:
        raise ValueError(f"annotations {str(path)!r} are not as COCO has them: {first_error(error)}") from error


def parse_json(path: Path) -> Any:
    """What a JSON file says. Raises ValueError when it cannot be read or is none."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"annotations {str(path)!r} cannot be read: {error.strerror}") from error
    if not text.strip():
        raise ValueError(f"annotations {str(path)!r} are an empty file")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"annotations {str(path)!r} are no JSON: {error}") from error


def first_error(error: ValidationError) -> str:
    """Where the first error is, what it is, and how many more there are."""
    errors = error.errors(include_url=False, include_input=False)
    place = " ".join(map(str, errors[0]["loc"]))
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{place + ': ' if place else ''}{errors[0]['msg']}{more}"


def check_content(path: str, content: Content) -> None:
    """Raise ValueError for ids that stand twice, images that nobody could unpack, and where there is nothing at all."""
    for name in ("images", "categories", "annotations"):
        if not getattr(content, name):
            raise ValueError(
                f"annotations {path!r} have no {name}; nothing can be learned from them or held against them"
            )
        ids = Counter(str(one.id) for one in getattr(content, name) if one.id is not None)
        twice = [f"the id {id} stands twice among the {name}" for id, count in ids.items() if count > 1]
        refuse(path, twice, "number them anew")
    sizes = [(one.id, one.width or 1, one.height or 1) for one in content.images]
    huge = [
        f"image {id} is said to have {width} x {height} pixels"
        for id, width, height in sizes
        if width * height > MOST_PIXELS
    ]
    refuse(path, huge, f"{MOST_PIXELS:,} are the most; mend its width and height, or shrink it and its annotations")


def refuse(path: str, culprits: list[str], remedy: str) -> None:
    """Raise ValueError when there are culprits."""
    if culprits:
        more = f", and {len(culprits) - 1} more such" if len(culprits) > 1 else ""
        raise ValueError(f"annotations {path!r}: {culprits[0]}{more}; {remedy}")
