"""What each verb is told: a file a verb, those of detection in one."""

import re
from importlib import import_module
from typing import Any


def config_of(verb: str) -> Any:
    """The settings of a verb: of `detect train`, DetectTrainConfig in detect.py."""
    words = re.split("[ -]", verb)
    module = verb.partition(" ")[0].replace("-", "_")
    return getattr(import_module(f"{__name__}.{module}"), "".join(map(str.title, words)) + "Config")
