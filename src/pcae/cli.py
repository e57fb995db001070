"""Words -> command. Imports only the command asked for; `pcae --help` imports no torch."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Annotated, Any, Union

from pcae.settings.text import visible
from pcae.settings.verbs import config_of
from pcae.training.allocator import keep_freed_memory
from pcae.training.failure_detection import STATUS, ProcessLost
from pcae.training.interruption import Interrupted
from pcae.training.slurm import join_step

VERBS = {
    "demo": "pre-train on the built-in sample, probe before and after, draw kept tokens; minutes on 2 CPU cores",
    "check-data": "what is in a folder of images: unreadable files, duplicates, balance, and a recipe for it",
    "pack": "images decoded and shrunk once, into a folder that every verb reads faster",
    "index": "the samples of shards counted once, into a file by which they are read in order, also from stores",
    "pretrain": "self-supervised pre-training on a folder of images without labels",
    "finetune": "an encoder becomes a classifier that drops redundant tokens; --drop-ratio A:B serves every ratio",
    "evaluate": "accuracy and speed of a classifier by drop ratio",
    "predict": "the most likely classes of images, a line of JSON for each",
    "detect train": "an encoder becomes a detector that finds and cuts out objects (Mask R-CNN), on COCO-format data",
    "detect evaluate": "COCO's average precision of a detector's boxes and masks, by size and category, and its speed",
    "detect predict": "the objects in any images, as COCO's results and drawn on the pictures",
    "probe": "how good the features of an encoder are: nearest neighbours, linear and attentive probes",
    "embed": "features of images to a .npy or .parquet file, deterministic",
    "show": "what a model keeps of images, stage by stage, as pictures and one page with sliders",
    "diversity": "how diverse tokens are, layer by layer (Figure 3), and the paper's claims about what is dropped",
    "report": "one HTML page of a run: settings, curves, health, probes, pictures, cost",
    "compare": "methods and settings side by side: same images, budget and seeds; the paper's tables",
    "export": "a model for ONNX Runtime, torch.export, timm or transformers, checked against PyTorch",
    "benchmark": "speed of training (ours and other people's MAE), of reading images and of inference, side by side",
    "cost": "multiply-accumulates, parameters and tokens by block of a model",
    "doctor": "versions, devices and data sets that pcae finds here",
}
STOPPED = 75
"""Exit status of a run that was saved to go on later: sysexits' EX_TEMPFAIL."""
CHOOSING = ("method", "init", "teacher")
"""Flags that make some of a recipe's values void."""
SHARING = {"pretrain", "finetune", "detect train", "detect evaluate", "compare"}
"""Verbs that share their work among the processes that torchrun starts."""
FAMILIES = {verb.split()[0] for verb in VERBS if " " in verb}
"""First words of verbs that have two."""
SHELLS = ("bash", "zsh", "fish")
HELP = f"""pcae {{version}}: self-supervised pre-training of Vision Transformers by progressive token reduction.

usage: pcae VERB [...]      pcae VERB --help      pcae --version      pcae completion {"|".join(SHELLS)}

{chr(10).join(f"  {verb:<17}{what}" for verb, what in VERBS.items())}

DATA is a folder (flat, nested or packed), an image, a .txt or .csv list, WebDataset shards (.tar) or their index
(.json, also at an address), hf:NAME, or one of the words sample and fashion-mnist (./sample is a folder of that name);
to detect train and evaluate, a folder or .json file of COCO's annotations. WEIGHTS are a run folder, a .safetensors or
.pth file, a folder of Hugging Face's ViT, or timm:NAME. Flags go before --config FILE, that before --recipe NAME, that
before the defaults. Bad input gets one line and exit status 2.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line; exits 0, or 2 with one line for bad input, 69 when another process of the run is gone, 75
    when a run was asked to stop and was saved, or 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    try:
        join_step()
        answer(words)
    except BrokenPipeError:  # the reader of our output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError, MemoryError) as error:
        refuse(str(error) or "out of memory")
    except ProcessLost as error:
        refuse(str(error), STATUS)
    except RuntimeError as error:
        remedy = remedy_of(error)
        if remedy is None:
            raise
        refuse(remedy)
    except Interrupted as stop:
        print(f"pcae: {stop}", file=sys.stderr)
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        print("pcae: interrupted", file=sys.stderr)
        sys.exit(130)


def answer(words: list[str]) -> None:
    """Do what the words ask for. Raises ValueError for bad input."""
    if not words or words[0] in {"-h", "--help", "help"}:
        print(HELP.replace("{version}", version("pcae")), end="")
    elif words[0] in {"-V", "--version"}:
        print(version("pcae"))
    elif words[0] == "completion":
        complete(words[1:])
    elif words[0] in FAMILIES and (len(words) == 1 or words[1] in {"-h", "--help", "help"}):
        print(family_help(words[0]))
    else:
        length = 2 if words[0] in FAMILIES else 1
        dispatch(" ".join(words[:length]), words[length:])


def family_help(family: str) -> str:
    """The verbs that begin with a word, and what they do."""
    verbs = [f"  {verb:<17}{what}" for verb, what in VERBS.items() if verb.split()[0] == family]
    return "\n".join([f"usage: pcae {family} VERB [...]      pcae {family} VERB --help", "", *verbs])


def dispatch(verb: str, words: list[str]) -> None:
    """Parse the words of a verb and run it. Raises ValueError for bad input."""
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, [*VERBS, *FAMILIES, "completion"], n=1)
        raise ValueError(f"unknown verb {verb!r}" + (f"; did you mean {near[0]!r}?" if near else "; see pcae --help"))
    keep_freed_memory()
    cls = config_of(verb)
    config = parse(cls, words, f"pcae {verb}")
    if verb not in SHARING and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError(f"pcae {verb} runs in one process, got {os.environ['WORLD_SIZE']}; start it without torchrun")
    command = module_of(verb)
    if getattr(config, "recipe", None) == "auto":
        picked = command.choose_recipe(config)
        config = dataclasses.replace(parse(cls, words, f"pcae {verb}", picked), recipe=picked)
    command.run(config)


def module_of(verb: str) -> ModuleType:
    """The module of a verb."""
    return import_module(f"pcae.commands.{verb.replace('-', '_').replace(' ', '.')}")


def complete(words: list[str]) -> None:
    """Print the completion script for a shell. Raises ValueError for another one."""
    import tyro

    if {"-h", "--help"} & set(words):
        print(f"usage: source <(pcae completion SHELL)      SHELL: {', '.join(SHELLS)}")
        return
    if len(words) != 1 or words[0] not in SHELLS:
        raise ValueError(f"completion is for one of {', '.join(SHELLS)}, got {' '.join(words)!r}")
    configs = {verb: config_of(verb) for verb in VERBS}
    single = {verb: config for verb, config in configs.items() if " " not in verb}
    families = {
        family: nested({verb.split()[1]: config for verb, config in configs.items() if verb.split()[0] == family})
        for family in FAMILIES
    }
    tyro.cli(
        choice(single | families),
        prog="pcae",
        args=["--tyro-print-completion", words[0]],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )


def choice(verbs: Mapping[str, Callable[..., Any]]) -> Any:
    """A type whose values are what one of several subcommands makes."""
    import tyro

    made = (Annotated[Any, tyro.conf.subcommand(verb, constructor=make)] for verb, make in verbs.items())
    return Union[tuple(made)]  # noqa: UP007


def nested(verbs: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """A subcommand with subcommands of its own."""

    def family(verb: Any) -> None: ...

    family.__annotations__["verb"] = choice(verbs)
    return family


def parse(cls: type, words: list[str], prog: str, picked: str | None = None) -> Any:
    """Words -> a configuration: flags > --config > --recipe > defaults, in any order of the words.

    picked: the recipe that `--recipe auto` stands for.
    """
    import tyro

    from pcae.settings.bounds import check_bounds
    from pcae.settings.values import at_home, build

    check_flags(cls, words)
    default = build(cls, preset(cls, words, picked), missing=tyro.MISSING)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said) if not wants_help(words) else contextlib.nullcontext():
            config = tyro.cli(cls, prog=prog, args=words, default=default, config=(tyro.conf.OmitArgPrefixes,))
            config = at_home(config)
    except SystemExit as stop:
        if stop.code:
            raise ValueError(plain(said.getvalue(), cls, words)) from None
        raise
    check_bounds(config)
    return config


def wants_help(words: list[str]) -> bool:
    """Whether the words ask for help."""
    return bool({"-h", "--help"} & set(words))


def check_flags(cls: type, words: list[str]) -> None:
    """Raise ValueError for a flag that is not there, with the one that may have been meant."""
    from pcae.settings.values import leaves

    names = [name.replace("_", "-") for name in leaves(cls)]
    known = {f"--{name}" for name in names} | {f"--no-{name}" for name in names} | {"--help"}
    for word in words:
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if not word or (word.startswith("--") and equals and not value):
            raise ValueError(f"an empty value was given{f' for {flag}' if flag else ''}; leave the flag out instead")
        if word.startswith("--") and flag not in known:
            near = difflib.get_close_matches(flag, known, n=1)
            raise ValueError(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else "; see --help"))


def preset(cls: type, words: list[str], picked: str | None) -> dict[str, Any]:
    """The values that --recipe and --config name, the latter over the former."""
    import argparse
    from pathlib import Path

    from pcae.settings.recipes import layered
    from pcae.settings.values import leaves, without_rivals

    if not {"recipe", "config"} <= leaves(cls).keys():
        return {}
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--recipe")
    scan.add_argument("--config", type=Path)
    for name in CHOOSING:
        scan.add_argument(f"--{name}")
    try:
        named, _ = scan.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    flags = [word.removeprefix("--").split("=")[0] for word in words if word.startswith("--")]
    return without_rivals(
        layered(
            cls,
            named.recipe,
            named.config,
            picked,
            {name: getattr(named, name) for name in CHOOSING if getattr(named, name)},
        ),
        flags,
    )


def plain(text: str, cls: type, words: list[str]) -> str:
    """A boxed message of the parser as one line; for a flag, what it takes and what it got."""
    from pcae.settings.values import kind, leaves

    lines = [line.strip("│╭╰╮╯─ ") for line in text.splitlines()]
    line = " ".join(line for line in lines[1:] if line and "helptext" not in line and set(line) - set("─━- "))
    if line.startswith("Missing from"):
        return f"missing: {', '.join(re.findall(r'DATA|IMAGES|RUN|OUT|--[a-z-]+ [A-Z]+', line))}; see --help"
    if line.startswith("Unrecognized options"):
        return f"unexpected: {line.partition(': ')[2]}; see --help"
    flag = re.search(r"(?:Error parsing |argument ')--([a-z0-9-]+)", line)
    types = leaves(cls)
    name = flag[1].replace("-", "_") if flag else ""
    if not flag or name not in types:
        return line
    return f"--{flag[1]} takes {kind(types[name])}, got {values_of(flag[1], words)}"


def values_of(flag: str, words: list[str]) -> str:
    """What stands behind a flag, as it was written."""
    dashed = [word.split("=")[0].replace("_", "-") for word in words]
    if f"--{flag}" not in dashed:
        return "nothing"
    place = dashed.index(f"--{flag}")
    _, equals, value = words[place].partition("=")
    behind = itertools.takewhile(lambda word: not word.startswith("--"), words[place + 1 :])
    return " ".join(map(repr, [value] if equals else behind)) or "nothing"


def remedy_of(error: RuntimeError) -> str | None:
    """The line for a failure of the machine rather than of the code; None for the code's own."""
    text = str(error)
    if "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text:
        first = text.strip().splitlines()[0]
        return f"out of memory ({first}); try a smaller --batch-size, more --accumulation or a smaller model"
    if text.startswith("DataLoader worker"):
        return f"a process that reads images died ({text.splitlines()[0]}); try fewer --workers"
    return None


def refuse(reason: str, status: int = 2) -> None:
    """One line to standard error, and the exit status; of several processes all but the first say which they are."""
    if "Original Traceback" in reason:  # an error that a reading process handed on: its last line says what it was
        reason = reason.strip().splitlines()[-1].partition(": ")[2]
    rank = os.environ.get("RANK", "0")
    said = visible(" ".join(reason.split()))
    line = f"pcae{'' if rank == '0' else f' (process {rank})'}: {said}\n"
    sys.stderr.write(line)  # in one piece: print() lets another process write before the end of the line
    sys.exit(status)
