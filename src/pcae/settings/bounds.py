"""Bounds that settings carry in their types, and the one line for a value outside of them."""

import math
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

from annotated_types import Interval

Count = Annotated[int, Interval(ge=1)]
Natural = Annotated[int, Interval(ge=0)]
Seed = Annotated[int, Interval(ge=0, lt=2**63)]
Positive = Annotated[float, Interval(gt=0, lt=math.inf)]
NotNegative = Annotated[float, Interval(ge=0, lt=math.inf)]
Share = Annotated[float, Interval(ge=0, lt=1)]
"""Of what may not be all of it."""
Portion = Annotated[float, Interval(gt=0, le=1)]
"""Of what may not be nothing."""


def check_bounds(config: Any) -> None:
    """Raise ValueError for a value outside the bounds of its field, of `config` or of the settings inside it."""
    kinds = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            check_bounds(value)
        for bound in bounds_of(kinds[field.name]):
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not holds(bound, number):
                    said = f"{number:g}" if isinstance(number, float) else number
                    raise ValueError(f"{field.name} must {requirement(bound)}, got {said}")


def bounds_of(kind: Any) -> list[Interval]:
    """The bounds that a type carries, for itself or for its members."""
    own = [bound for bound in getattr(kind, "__metadata__", ()) if isinstance(bound, Interval)]
    return [*own, *(bound for inner in get_args(kind) for bound in bounds_of(inner))]


def holds(bound: Interval, number: Any) -> bool:
    """Whether a number lies in a bound; one that is none (nan) lies in none."""
    low = number > bound.gt if bound.ge is None else number >= bound.ge
    return low and (bound.lt is None or number < bound.lt) and (bound.le is None or number <= bound.le)


def requirement(bound: Interval) -> str:
    """What a bound asks for, in words."""
    low, high = bound.gt if bound.ge is None else bound.ge, bound.lt if bound.le is None else bound.le
    if high in (None, math.inf):
        return f"be at least {low}" if low else "be positive" if bound.ge is None else "be 0 or more"
    end = "2^63" if high == 2**63 else high
    return f"lie in {'(' if bound.ge is None else '['}{low}, {end}{')' if bound.le is None else ']'}"
