"""How often something is done while a run trains: every so many steps, or epochs."""

import math
from dataclasses import dataclass
from typing import Annotated

UNIT = "ep"
"""What stands behind a number of epochs."""


@dataclass(frozen=True)
class HowOften:
    """Marks the types of settings that say how often. never: whether 0 may stand for never."""

    never: bool = False


Every = Annotated[int | str, HowOften()]
"""500: steps. 2ep, 0.5ep: epochs."""
EveryOrUsual = Annotated[int | str | None, HowOften()]
EveryOrNever = Annotated[int | str | None, HowOften(never=True)]
"""None: the usual interval. It stands inside, where the parser of the command line sees it."""
EveryOrEpochs = Annotated[int | float | str, HowOften()]
"""The same, and a number with a point is epochs: so runs wrote it down that knew no steps here."""


def interval_of(value: int | float | str, *, never: bool = False) -> tuple[float, bool]:
    """The number of an interval, and whether it is one of epochs. Raises ValueError, without the setting's name."""
    in_epochs = isinstance(value, float) or str(value).endswith(UNIT)
    try:
        number = float(str(value).removesuffix(UNIT)) if in_epochs else int(value)
    except ValueError:
        raise ValueError(
            f"must be steps, such as 500, or epochs, such as 2{UNIT} or 0.5{UNIT}, got {value!r}"
        ) from None
    if not 0 <= number < math.inf or (number == 0 and not never):
        said = f"{value:g}" if isinstance(value, float) else value
        raise ValueError(f"must {'be 0 or more' if never else 'be positive'}, got {said}")
    return number, in_epochs
