"""The arguments of a call from Python -> settings, as the command line makes them of words."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, get_args, get_origin

from pcae.settings.bounds import check_bounds
from pcae.settings.sources import as_weights
from pcae.settings.values import at_home, build, check_values, flatten, leaves

NOT_HERE = {"json"}
"""Settings of the command line alone."""
MISSING = object()
"""Stands for the value of a setting that has to be given."""
WEIGHTS = {"weights", "init", "teacher", "by"}
"""Settings that take a model, where they take one at all."""
HELD_OUT = {"validation", "knn_data", "unlabelled"}
"""Settings that take images beside DATA."""


def settings_from(cls: type, verb: str, given: Mapping[str, Any], optional: Sequence[str] = ()) -> Any:
    """The settings of a verb without recipes. optional: what has to be given on the command line alone; None without.

    Raises ValueError for an unknown name, a value that cannot be, and for what is missing.
    """
    check_complete(cls, verb, given, optional)
    values = check_values(cls, prepared(cls, verb, given), verb)
    config = at_home(build(cls, values))
    check_bounds(config)
    return config


def check_complete(cls: type, verb: str, given: Mapping[str, Any], optional: Sequence[str] = ()) -> None:
    """Raise ValueError for settings that are missing, and for those of the command line alone."""
    for name in NOT_HERE & given.keys():
        raise ValueError(f"{verb}: {name} is for the command line alone; leave it out, the result is returned")
    absent = [name for name in required(cls) if name not in given and name not in optional]
    if absent:
        raise ValueError(f"{verb}: missing: {', '.join(absent)}; see help(pcae.{python_name(verb)})")


def required(cls: type) -> list[str]:
    """The settings that have no default."""
    return [name for name, value in flatten(build(cls, {}, missing=MISSING)).items() if value is MISSING]


def python_name(verb: str) -> str:
    """What a verb is called in Python, below `pcae`."""
    return verb.replace("-", "_").replace(" ", ".")


def prepared(cls: type, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values as settings have them: objects in place of names, one value for several, numbers of numpy's."""
    kinds = leaves(cls)
    return {name: value_for(kinds.get(name), role(kinds, verb, name), value) for name, value in given.items()}


def role(kinds: Mapping[str, Any], verb: str, name: str) -> str:
    """Whether a setting takes images (data), a model (weights), or plain values (none)."""
    if (name == "data" and kinds.get(name) is not str) or (name in HELD_OUT and not verb.startswith("detect")):
        return "data"
    return "weights" if name in WEIGHTS and takes_models(verb) else ""


def takes_models(verb: str) -> bool:
    """Whether the weights of a verb may be a model; a detector is a file."""
    return verb not in {"detect evaluate", "detect predict"}


def value_for(kind: Any, role: str, value: Any) -> Any:
    """A value as the setting has it; what does not fit stays, for the check to name it."""
    if value is None:
        return None
    if role == "data":
        return value  # the check makes DATA of it
    several = tuple_of(kind)
    if role == "weights":
        return tuple(map(as_weights, each_of(value))) if several else as_weights(value)
    value = plain(value)
    if several and not isinstance(value, list):
        return [value] if Ellipsis in several else [value, value] if several == (int, int) else value
    if {float, str} == set(get_args(kind)) and isinstance(value, list) and len(value) == 2:
        return f"{value[0]}:{value[1]}"
    return value


def each_of(value: Any) -> Sequence[Any]:
    """One model or several, one by one."""
    return value if isinstance(value, list | tuple) else [value]


def tuple_of(kind: Any) -> tuple[Any, ...]:
    """What a setting of several values has, with ... where any number of them goes; nothing for a single value."""
    if get_origin(kind) is tuple:
        return get_args(kind)
    return next((get_args(one) for one in get_args(kind) if get_origin(one) is tuple), ())


def plain(value: Any) -> Any:
    """Numbers of numpy's as Python's, sequences as lists."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else value
