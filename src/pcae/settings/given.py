"""Objects of the caller's where settings have a name: a data set, a model."""

import re
from typing import Any


class Given(str):
    """An object in the place of a name. As a text it is what messages and files call the object.

    value: the object itself.
    """

    value: Any

    def __new__(cls, value: Any, words: str) -> "Given":
        """The text `words`, which carries `value`."""
        given = super().__new__(cls, words)
        given.value = value
        return given

    def __getnewargs__(self) -> tuple[Any, str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.value, str(self)


def repr_of(value: Any) -> str:
    """An object as it describes itself, in one line and the same in every process: without its place in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(value).split()))
