"""Types of settings: places among the words, and bounds, with the one line for a value outside of them."""

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from annotated_types import Interval
from tyro.conf import Positional, Suppress, arg
from tyro.constructors import PrimitiveConstructorSpec

from pcae.settings.intervals import HowOften, interval_of
from pcae.settings.sources import Data

R = TypeVar("R")
OneData = Annotated[str, Positional, arg(metavar="DATA")]
AnyData = Annotated[Data, Positional, arg(metavar="DATA")]
AnyImages = Annotated[Data, Positional, arg(metavar="IMAGES")]
HeldOut = Annotated[
    Data | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: value is None or isinstance(value, str | tuple),
        str_from_instance=lambda value: [str(value)],
    ),
]
"""Images beside DATA: a flag takes one source, callers from Python and files may give several."""
OnlyPython = Annotated[str | None, Suppress]
"""An object that callers from Python give, and config.yaml has in words; the command line has no flag for it."""
Written = Annotated[Path, Positional, arg(metavar="OUT")]
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
        for rule in (rule for rule in rules_of(kinds[field.name], HowOften) if value is not None):
            check_interval(field.name, value, rule)
        for bound in rules_of(kinds[field.name], Interval):
            for number in value if isinstance(value, tuple) else (value,):
                if not isinstance(number, str | None) and not holds(bound, number):
                    said = f"{number:g}" if isinstance(number, float) else number
                    raise ValueError(f"{field.name} must {requirement(bound)}, got {said}")


def check_interval(name: str, value: Any, rule: HowOften) -> None:
    """Raise ValueError for a value of a setting that says how often, where it says nothing of the kind."""
    try:
        interval_of(value, never=rule.never)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def rules_of(kind: Any, sort: type[R]) -> list[R]:
    """The rules of a sort that a type carries, for itself or for its members."""
    own = [rule for rule in getattr(kind, "__metadata__", ()) if isinstance(rule, sort)]
    return [*own, *(rule for inner in get_args(kind) for rule in rules_of(inner, sort))]


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
