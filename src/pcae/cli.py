"""Words -> command. Imports only the command asked for; `pcae --help` imports no torch."""

import contextlib
import difflib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

VERBS = {
    "demo": "pre-train on the built-in sample, probe before and after, draw kept tokens; minutes on 2 CPU cores",
    "pretrain": "self-supervised pre-training on a folder of images without labels",
    "probe": "how good the features of an encoder are: k nearest neighbours",
    "embed": "features of images to a .npy file, deterministic",
    "cost": "multiply-accumulates, parameters and tokens by block of a model",
    "doctor": "versions, devices and data sets that pcae finds here",
}
HELP = f"""pcae {{version}}: self-supervised pre-training of Vision Transformers by progressive token reduction.

usage: pcae VERB [...]      pcae VERB --help      pcae --version

{chr(10).join(f"  {verb:<10}{what}" for verb, what in VERBS.items())}

DATA is a folder (flat or nested), a .txt or .csv list, or one of the words sample and fashion-mnist.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line; exits 0, or 2 with one line for bad input, or 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(HELP.replace("{version}", version("pcae")), end="")
        sys.exit(0)
    if words[0] in {"-V", "--version"}:
        print(version("pcae"))
        sys.exit(0)
    try:
        dispatch(words[0], words[1:])
    except (ValueError, OSError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        print("pcae: interrupted", file=sys.stderr)
        sys.exit(130)


def dispatch(verb: str, words: list[str]) -> None:
    """Parse the words of a verb and run it. Raises ValueError for bad input."""
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        raise ValueError(f"unknown verb {verb!r}" + (f"; did you mean {near[0]!r}?" if near else "; see pcae --help"))
    command = import_module(f"pcae.commands.{verb}")
    command.run(parse(command.Config, words, f"pcae {verb}"))


def parse(cls: type, words: list[str], prog: str) -> Any:
    """Words -> a configuration: flags > --config > --recipe > defaults, in any order of the words."""
    import tyro

    from pcae.settings import build

    default = build(cls, preset(cls, words), missing=tyro.MISSING)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said) if not wants_help(words) else contextlib.nullcontext():
            return tyro.cli(
                cls,
                prog=prog,
                args=words,
                default=default,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if stop.code:
            raise ValueError(plain(said.getvalue())) from None
        raise


def wants_help(words: list[str]) -> bool:
    """Whether the words ask for help."""
    return bool({"-h", "--help"} & set(words))


def preset(cls: type, words: list[str]) -> dict[str, Any]:
    """The values that --recipe and --config name, the latter over the former."""
    import argparse
    from pathlib import Path

    from pcae.settings import layered, leaves, without_rivals

    if not {"recipe", "config"} <= leaves(cls).keys():
        return {}
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--recipe")
    scan.add_argument("--config", type=Path)
    try:
        named, _ = scan.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    flags = [word.removeprefix("--").split("=")[0] for word in words if word.startswith("--")]
    return without_rivals(layered(cls, named.recipe, named.config), flags)


def plain(text: str) -> str:
    """A boxed message of the parser as one line."""
    lines = [line.strip("│╭╰╮╯─ ") for line in text.splitlines()]
    return "; ".join(line for line in lines[1:] if line and "helptext" not in line and set(line) - set("─━- "))


def refuse(reason: str) -> None:
    """One line to standard error, exit status 2; processes of torchrun but the first say which they are."""
    if "Original Traceback" in reason:  # an error that a reading process handed on: its last line says what it was
        reason = reason.strip().splitlines()[-1].partition(": ")[2]
    rank = os.environ.get("RANK", "0")
    print(f"pcae{'' if rank == '0' else f' (process {rank})'}: {' '.join(reason.split())}", file=sys.stderr)
    sys.exit(2)
