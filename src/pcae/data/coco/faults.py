"""Annotations as they can be used: mended where nothing is lost, left out where they are wrong in themselves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from pcae.data.coco.checks import Annotation, Content, Number, first_error, refuse
from pcae.data.coco.segmentations import Size, box_of, extent, fault, nested, shared, to_rle
from pcae.settings.reading import AnnotationConfig

BEYOND = 1.0
"""How many pixels a box may reach beyond its image, by rounding; such a part is cut off when it is read."""
HALF = 0.5
"""What a box and the one around its mask share at least of what both cover, where they are of one object."""
CORNERS = 6
"""Numbers of the shortest polygon, a triangle."""


def refuse_word(number: Any) -> Any:
    """The number. Raises ValueError for one in quotes, with which nothing can be computed."""
    if isinstance(number, str):
        raise ValueError(f"a number is wanted, not the word {number!r}")
    return number


Unquoted = BeforeValidator(refuse_word)


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask by the lengths of its runs, as numbers or as one word."""

    size: tuple[Annotated[int, Unquoted], Annotated[int, Unquoted]]
    counts: str | list[Annotated[int, Unquoted]]


SEGMENTATION = TypeAdapter(list[list[Annotated[Number, Field(strict=True)]]] | RunLengths)


class Usable(NamedTuple):
    """Annotations that can be used, each with a box, and with a segmentation if `masks`; and what was left out."""

    annotations: list[Annotation]
    masks: bool
    notes: list[str]


class Rules(NamedTuple):
    """What annotations are held against: sizes of the images by id, ids of the categories, whether masks are needed."""

    sizes: dict[str, Size]
    categories: set[str]
    masks: bool


def usable(path: str, content: Content, sizes: Sequence[Size], config: AnnotationConfig) -> Usable:
    """The annotations that can be used. Raises ValueError when more are wrong than `config` allows.

    sizes: of the images, in the file's order.
    """
    marked = {place: one for place, one in enumerate(content.annotations) if one.bbox or one.segmentation}
    size_of = {str(image.id): size for image, size in zip(content.images, sizes, strict=True)}
    masks = with_masks(path, list(marked.values()), config)
    check_pixels(path, marked)
    rules = Rules(size_of, {str(category.id) for category in content.categories}, masks)
    settled = {place: settle(one, rules) for place, one in marked.items()}
    wrong = [f"{named(place, marked[place])} {one}" for place, one in settled.items() if isinstance(one, str)]
    if wrong and len(wrong) / len(marked) > config.max_bad_annotations:
        refuse(path, wrong, remedy(wrong, marked, settled, rules))
    allowed = f"--max-bad-annotations {config.max_bad_annotations:g} allows it"
    left_out = [f"{len(wrong)} of {len(marked)} annotations are left out: {one}; {allowed}" for one in wrong[:1]]
    kept = {place: one for place, one in settled.items() if isinstance(one, Annotation)}
    notes = [*left_out, *unmarked(content, marked), *boxes_alone(marked, rules, config), *parts_left_out(marked, kept)]
    notes += [*holes_filled(kept, rules), *boxes_apart(kept, rules)]
    return Usable(list(kept.values()), masks, notes)


def check_pixels(path: str, marked: dict[int, Annotation]) -> None:
    """Raise ValueError where all boxes are shares of the images' sides."""
    boxes = {place: one.bbox for place, one in marked.items() if one.bbox}
    if boxes and all(max(bbox) <= 1 for bbox in boxes.values()):
        place, bbox = next(iter(boxes.items()))
        raise ValueError(
            f"annotations {path!r}: boxes are no pixels but shares of the images' sides, {named(place, marked[place])} "
            f"has {bbox}; multiply left and width by the image's width, top and height by its height"
        )


def with_masks(path: str, marked: Sequence[Annotation], config: AnnotationConfig) -> bool:
    """Whether masks are taken, or boxes alone. Raises ValueError where masks are asked for and there is none."""
    bare = sum(not one.segmentation for one in marked)
    if config.masks == "always" and bare == len(marked):
        raise ValueError(
            f"annotations {path!r} have boxes only, no masks; without --masks always, boxes alone are taken"
        )
    if config.masks != "auto" or bare == len(marked):
        return config.masks == "always"
    return bare / len(marked) <= config.max_bad_annotations


def settle(annotation: Annotation, rules: Rules) -> Annotation | str:
    """The annotation as it can be used, or what is wrong with it."""
    size, masks = rules.sizes.get(str(annotation.image_id)), rules.masks
    if size is None:
        return "is of an image that is not among the images"
    if str(annotation.category_id) not in rules.categories:
        return f"is of the category {annotation.category_id}, which is not among the categories"
    bbox, segmentation = annotation.bbox, None
    wrong = box_fault(bbox, size) if bbox else None
    if masks or not bbox:
        segmentation = whole_parts(annotation.segmentation)
        wrong = wrong or segmentation_fault(segmentation, size)
    if wrong:
        return wrong
    bbox, segmentation = bbox or box_of(to_rle(segmentation, size)), segmentation if masks else None
    if bbox is annotation.bbox and segmentation is annotation.segmentation:
        return annotation
    return replace(annotation, bbox=bbox, segmentation=segmentation)


def box_fault(bbox: list[float], size: Size) -> str | None:
    """What is wrong with a box in an image of this size, if anything is."""
    left, top, width, height = bbox
    if width <= 0 or height <= 0:
        return f"has a box of no area, {bbox}"
    if min(left, top) < -BEYOND or left + width > size[1] + BEYOND or top + height > size[0] + BEYOND:
        return f"has a box that reaches out of its image of {size[1]} x {size[0]}, {bbox}"
    return None


def whole_parts(segmentation: Any) -> Any:
    """Polygons without those of fewer than three corners that stand beside others: points and lines cover nothing."""
    if not isinstance(segmentation, list) or not all(isinstance(part, list) for part in segmentation):
        return segmentation
    whole = [part for part in segmentation if len(part) >= CORNERS]
    return whole if 0 < len(whole) < len(segmentation) else segmentation


def segmentation_fault(segmentation: Any, size: Size) -> str | None:
    """What is wrong with a segmentation: none, not of COCO's form, or not a mask of this size."""
    if not segmentation:
        return "has no segmentation"
    try:
        SEGMENTATION.validate_python(segmentation)
    except ValidationError as error:
        return f"has no segmentation of COCO's form ({first_error(error)})"
    return fault(segmentation, size)


def remedy(
    wrong: Sequence[str], marked: dict[int, Annotation], settled: dict[int, Annotation | str], rules: Rules
) -> str:
    """What helps against wrong annotations; boxes alone where these are right."""
    faulty = [marked[place] for place, one in settled.items() if isinstance(one, str)]
    boxes = rules._replace(masks=False)
    rest = rules.masks and all(isinstance(settle(one, boxes), Annotation) for one in faulty)
    out = f", leave them out by {allowing(len(wrong), len(marked))}" if len(wrong) < 0.9999 * len(marked) else ""
    return f"{as_corners(marked, rules)}mend or remove them{out}" + (
        ", or take boxes alone by --masks never" if rest else ""
    )


def as_corners(marked: dict[int, Annotation], rules: Rules) -> str:
    """What helps where some boxes reach out of their images, and all lie inside as left, top, right and bottom."""
    boxes = [(one.bbox, rules.sizes.get(str(one.image_id), (0, 0))) for one in marked.values() if one.bbox]
    inside = all(box_fault([b[0], b[1], b[2] - b[0], b[3] - b[1]], size) is None for b, size in boxes)
    if not inside or all(box_fault(bbox, size) is None for bbox, size in boxes):
        return ""
    return "all boxes fit as left, top, right and bottom: write width and height in the last two places; or "


def allowing(wrong: int, annotations: int) -> str:
    """The setting by which so many annotations may be wrong."""
    return f"--max-bad-annotations {math.ceil(round(1e4 * wrong / annotations, 9)) / 1e4:g}"


def named(place: int, annotation: Annotation) -> str:
    """How messages call an annotation: by its id where it has one, and by its image."""
    number = f"{annotation.id}" if annotation.id is not None else f"at place {place}"
    return f"annotation {number} of image {annotation.image_id}"


def unmarked(content: Content, marked: dict[int, Annotation]) -> list[str]:
    """How many annotations mark nothing, such as those of slices that SAHI cut beside an object."""
    count = len(content.annotations) - len(marked)
    return [f"{count} of {len(content.annotations)} annotations have neither a box nor a mask and are left out"][:count]


def boxes_alone(marked: dict[int, Annotation], rules: Rules, config: AnnotationConfig) -> list[str]:
    """Why boxes alone are taken, where nobody asked for it."""
    if rules.masks or config.masks == "never":
        return []
    bare = sum(not one.segmentation for one in marked.values())
    if bare == len(marked):
        return ["no object has a mask: boxes alone are taken"]
    wrong = sum(isinstance(settle(one, rules._replace(masks=True)), str) for one in marked.values())
    return [
        f"{bare} of {len(marked)} objects have a box and no mask: boxes alone are taken; --masks always "
        f"{allowing(wrong, len(marked))} leaves these objects out instead"
    ]


def parts_left_out(marked: dict[int, Annotation], kept: dict[int, Annotation]) -> list[str]:
    """How many masks were freed of points and lines."""
    cut = [n for n, one in kept.items() if one.segmentation and one.segmentation is not marked[n].segmentation]
    return [
        f"{len(cut)} of {len(kept)} masks have parts of fewer than three corners, which are left out; "
        f"the first is of {named(place, marked[place])}"
        for place in cut[:1]
    ]


def boxes_apart(kept: dict[int, Annotation], rules: Rules) -> list[str]:
    """How many objects have a box that is not around their mask."""
    both = {n: one for n, one in kept.items() if one.bbox and one.segmentation}
    sizes = {n: rules.sizes[str(one.image_id)] for n, one in both.items()}
    odd = [n for n, one in both.items() if shared(one.bbox or [], extent(one.segmentation, sizes[n])) < HALF]
    return [
        f"{len(odd)} of {len(kept)} boxes lie apart from their masks (they share less than half of what both cover); "
        f"the first is of {named(place, kept[place])}"
        for place in odd[:1]
    ]


def holes_filled(kept: dict[int, Annotation], rules: Rules) -> list[str]:
    """How many masks have a polygon within another one: by COCO's rule, polygons count together."""
    parted = {n: one for n, one in kept.items() if isinstance(one.segmentation, list) and len(one.segmentation) > 1}
    filled = [n for n, one in parted.items() if nested(one.segmentation, rules.sizes[str(one.image_id)])]
    return [
        f"{len(filled)} of {len(kept)} masks have a polygon within another one, which COCO counts together: a hole "
        f"that was written so, as FiftyOne does, is filled; the first is of {named(place, kept[place])}"
        for place in filled[:1]
    ]
