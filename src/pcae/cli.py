"""Words -> command. A command is imported only to be run: no help, refusal or completion script waits for torch."""

import dataclasses
import difflib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module, resources
from importlib.metadata import version
from types import ModuleType

from pcae.settings.text import visible
from pcae.settings.verbs import VERBS, config_of
from pcae.training.allocator import keep_freed_memory
from pcae.training.interruption import Interrupted
from pcae.training.slurm import join_step

STOPPED = 75
"""Exit status of a run that was saved to go on later: sysexits' EX_TEMPFAIL."""
SHARING = {
    "pretrain",
    "finetune",
    "detect train",
    "detect evaluate",
    "compare",
    "embed",
    "predict",
    "evaluate",
    "check-data",
    "pack",
}
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
before the defaults; `pcae recipes` lists the names. Bad input gets one line and exit status 2.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line; exits 0, or 2 with one line for bad input, 75 when a run was asked to stop and was saved, or
    130 when interrupted."""
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
        print(completion(words[1:]), end="")
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
    """Parse the words of a verb and run it, or show its help. Raises ValueError for bad input.

    The module of the verb, and torch with it, is imported only to run it.
    """
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, [*VERBS, *FAMILIES, "completion"], n=1)
        raise ValueError(f"unknown verb {verb!r}" + (f"; did you mean {near[0]!r}?" if near else "; see pcae --help"))
    from pcae.settings.help import HELP_FLAGS, show_help
    from pcae.settings.words import parse

    cls, name = config_of(verb), f"pcae {verb}"
    if HELP_FLAGS & set(words):
        show_help(cls, name, words)
        return
    config = parse(cls, words, name)
    if verb not in SHARING and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError(f"{name} runs in one process, got {os.environ['WORLD_SIZE']}; start it without torchrun")
    keep_freed_memory()
    command = module_of(verb)
    if getattr(config, "recipe", None) == "auto":
        picked = command.choose_recipe(config)
        config = dataclasses.replace(parse(cls, words, name, picked), recipe=picked)
    command.run(config)


def module_of(verb: str) -> ModuleType:
    """The module of a verb."""
    return import_module(f"pcae.commands.{verb.replace('-', '_').replace(' ', '.')}")


def completion(words: list[str]) -> str:
    """The completion script of a shell. Raises ValueError for another one."""
    if {"-h", "--help"} & set(words):
        return f"usage: source <(pcae completion SHELL)      SHELL: {', '.join(SHELLS)}\n"
    if len(words) != 1 or words[0] not in SHELLS:
        raise ValueError(f"completion is for one of {', '.join(SHELLS)}, got {' '.join(words)!r}")
    return (resources.files("pcae") / "completion" / f"pcae.{words[0]}").read_text("utf-8")


def remedy_of(error: RuntimeError) -> str | None:
    """The line for a failure of the machine rather than of the code; None for the code's own."""
    text = str(error)
    if "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text:
        first = text.strip().splitlines()[0]
        return f"out of memory ({first}); try a smaller --batch-size, more --accumulation or a smaller model"
    if text.startswith("DataLoader worker"):
        return f"a process that reads images died ({text.splitlines()[0]}); try fewer --workers"
    return None


def refuse(reason: str) -> None:
    """One line to standard error, and exit status 2; of several processes all but the first say which they are."""
    if "Original Traceback" in reason:  # an error that a reading process handed on: its last line says what it was
        reason = reason.strip().splitlines()[-1].partition(": ")[2]
    rank = os.environ.get("RANK", "0")
    said = visible(" ".join(reason.split()))
    line = f"pcae{'' if rank == '0' else f' (process {rank})'}: {said}\n"
    sys.stderr.write(line)  # in one piece: print() lets another process write before the end of the line
    sys.exit(2)
