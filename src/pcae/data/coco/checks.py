"""What a file of COCO annotations must hold, and what is wrong with one, in a line."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictInt, TypeAdapter, ValidationError

from pcae.data.coco.segmentations import Size, fault

BEYOND = 1.0
"""How many pixels a box may reach beyond its image, by rounding; such a part is cut off when it is read."""
Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a file of annotations has it."""

    id: StrictInt
    file_name: Annotated[str, Field(min_length=1)]
    height: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of object."""

    id: StrictInt
    name: str


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask by the lengths of its runs, as numbers or as one word."""

    size: tuple[int, int]
    counts: str | list[int]


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object in an image, or a crowd of them that nobody counted; bbox has left, top, width and height."""

    image_id: StrictInt
    category_id: StrictInt
    bbox: Annotated[list[Number], Field(min_length=4, max_length=4)]
    id: StrictInt | None = None
    segmentation: Any = None
    area: Number | None = None
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0


@dataclass(frozen=True, slots=True)
class Content:
    """A file of annotations, less what nobody here asks for."""

    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


CONTENT = TypeAdapter(Content)
SEGMENTATION = TypeAdapter(list[list[Number]] | RunLengths | None)


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
    """Raise ValueError for ids that stand twice or lead nowhere, and where there is nothing at all."""
    for name in ("images", "categories", "annotations"):
        if not getattr(content, name):
            raise ValueError(
                f"annotations {path!r} have no {name}; nothing can be learned from them or held against them"
            )
        ids = Counter(one.id for one in getattr(content, name) if one.id is not None)
        twice = [f"the id {id} stands twice among the {name}" for id, count in ids.items() if count > 1]
        refuse(path, twice, "number them anew")
    images, categories = ({one.id for one in those} for those in (content.images, content.categories))
    lost = [named(place, one) for place, one in enumerate(content.annotations) if one.image_id not in images]
    refuse(path, [f"{name}, which is not among the images" for name in lost], "remove it or add the image")
    wrong = [one.category_id for one in content.annotations if one.category_id not in categories]
    refuse(path, [f"the category id {id} is not among the categories" for id in wrong], "add the category")


def refuse(path: str, culprits: list[str], remedy: str) -> None:
    """Raise ValueError when there are culprits."""
    if culprits:
        more = f", and {len(culprits) - 1} more such" if len(culprits) > 1 else ""
        raise ValueError(f"annotations {path!r}: {culprits[0]}{more}; {remedy}")


def named(place: int, annotation: Annotation) -> str:
    """How messages call an annotation: by its id where it has one, and by its image."""
    number = f"{annotation.id}" if annotation.id is not None else f"at place {place}"
    return f"annotation {number} of image {annotation.image_id}"


def faults(path: str, content: Content, most: float) -> dict[int, str]:
    """What is wrong with annotations in themselves, by place. Raises ValueError when it is more than a share `most`.

    A file without any segmentation has boxes only; in others, every object needs one.
    """
    sizes = {image.id: (image.height, image.width) for image in content.images}
    masks = any(annotation.segmentation for annotation in content.annotations)
    wrong = (
        (place, annotation, annotation_fault(annotation, sizes[annotation.image_id], masks))
        for place, annotation in enumerate(content.annotations)
    )
    found = {place: f"{named(place, annotation)} {reason}" for place, annotation, reason in wrong if reason}
    if len(found) > most * len(content.annotations):
        refuse(path, list(found.values()), "mend or remove them")
    return found


def annotation_fault(annotation: Annotation, size: Size, masks: bool) -> str | None:
    """What is wrong with an annotation in an image of this size, if anything is."""
    left, top, width, height = annotation.bbox
    if width <= 0 or height <= 0:
        return f"has a box of no area, {annotation.bbox}"
    if min(left, top) < -BEYOND or left + width > size[1] + BEYOND or top + height > size[0] + BEYOND:
        return f"has a box that reaches out of its image of {size[1]} x {size[0]}, {annotation.bbox}"
    return segmentation_fault(annotation.segmentation, size) if masks else None


def segmentation_fault(segmentation: Any, size: Size) -> str | None:
    """What is wrong with a segmentation: not of COCO's form, or not a mask of this size."""
    try:
        SEGMENTATION.validate_python(segmentation)
    except ValidationError as error:
        return f"has no segmentation of COCO's form ({first_error(error)})"
    return fault(segmentation, size)
