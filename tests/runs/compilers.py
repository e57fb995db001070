"""`pcae` where compiling would pay; processes in WITHOUT have no compiler, that of the others leaves all as it is.

python -m tests.runs.compilers VERB ...
"""

import os
import sys
from collections.abc import Callable

import torch

from pcae.cli import main
from pcae.model import compiled
from pcae.runs import compiling


def compiler(given: Callable, **_: object) -> Callable:
    """What `torch.compile` does here."""
    if os.environ["RANK"] in os.environ["WITHOUT"].split():
        raise RuntimeError("no compiler\nat all")
    return given


def told(self: torch.nn.Module, *_: object, **__: object) -> None:
    """A block that is compiled says so."""
    print(f"{type(self).__name__} is compiled", file=sys.stderr)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.compile = compiler  # pyright: ignore[reportAttributeAccessIssue]
    for kind in compiled.BLOCKS:
        kind.compile = told
    compiling.compiles = lambda asked, *_: asked != "never"
    main()
