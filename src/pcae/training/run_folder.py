"""A run folder: what may start there, what goes on there."""

from pathlib import Path
from typing import Any

import yaml

from pcae.settings.sources import ONLY_PYTHON
from pcae.settings.values import expand
from pcae.settings.yaml_files import Yaml
from pcae.training.checkpoint import Checkpoints, read_header
from pcae.writing import replace_text


def find_checkpoint(
    checkpoints: Checkpoints, resume: str, settings: dict[str, Any], usual: dict[str, Any]
) -> Path | None:
    """The checkpoint that a run goes on from: with resume=auto its own newest, with a path that one.

    Raises ValueError when the path is no file, or when the folder holds another run: with resume=never any.
    """
    newest, folder = checkpoints.last(), checkpoints.folder.parent
    if newest is None:
        check_vacant(folder, settings, usual)
    if resume == "auto":
        return newest
    if resume == "never":
        if newest:
            raise ValueError(
                f"out {str(folder)!r} holds another run; choose another folder, or --resume auto to go on with it"
            )
        return None
    path = expand(resume)
    if not path.is_file():
        raise ValueError(f"resume {resume!r} is no checkpoint; give auto, never or the path of a checkpoint file")
    if newest and path.parent.resolve() != newest.parent.resolve():
        raise ValueError(f"out {str(folder)!r} holds another run than {resume!r}; choose another folder")
    return path


def check_vacant(folder: Path, settings: dict[str, Any], usual: dict[str, Any]) -> None:
    """Raise ValueError when a folder without checkpoints holds a finished run, or one begun with other settings.

    usual: the settings' defaults, which is what those were that an older pcae did not have.
    """
    if any((folder / name).exists() for name in ("encoder.safetensors", "classifier.safetensors")):
        raise ValueError(f"out {str(folder)!r} holds a finished run without its checkpoints; choose another folder")
    if not (folder / "config.yaml").is_file():
        others = [name for name in ("metrics.jsonl", "summary.json", "tensorboard") if (folder / name).exists()]
        if others:
            raise ValueError(f"out {str(folder)!r} holds {others[0]!r} of another program; choose another folder")
        return
    found = config_of(folder)
    theirs = usual | found if found.keys() & usual.keys() else found
    for name, value in settings.items():
        if name not in theirs or theirs[name] != value:
            raise ValueError(
                f"out {str(folder)!r} holds a config.yaml with {name} = {theirs.get(name)}, not {value}: another run's "
                "or another program's; choose another folder, or remove it"
            )


def config_of(folder: Path) -> dict[str, Any]:
    """The values of a folder's config.yaml; none when it is not there or no configuration."""
    try:
        values = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Yaml)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


LATER = {"labels"}
"""What a run is of that checkpoints of before 0.2 do not say."""


def facts_of(checkpoint: Path, settings: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """The facts in a checkpoint of a run with these settings. Raises ValueError naming a setting that differs.

    usual: the settings' defaults, which is what those were that an older pcae did not have.
    """
    facts = read_header(checkpoint)
    if "settings" not in facts:
        raise ValueError(f"{checkpoint} is no checkpoint of a run; checkpoints lie in the folder `checkpoints`")
    theirs = {name: usual[name] for name in settings.keys() & usual.keys()} | facts["settings"]
    names = sorted(settings.keys() | theirs.keys())
    for name in sorted(names, key=lambda name: name not in ONLY_PYTHON):  # these turn others off
        older = name in LATER and name not in theirs
        if settings.get(name) != theirs.get(name) and not older:
            raise ValueError(
                f"{checkpoint} is of a run with {name} = {theirs.get(name)}, not {settings.get(name)}; "
                "use the same settings to go on, or another --out"
            )
    return facts


def prepare(folder: Path, config_yaml: str) -> None:
    """Make the folder and write its config.yaml. Raises ValueError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / "config.yaml", config_yaml)
    except OSError as error:
        raise ValueError(f"out {str(folder)!r} cannot be written: {error.strerror}") from error


BEST = "best.safetensors"
"""Where a run keeps the weights that were best on the held-out images."""
BAD_FILES = "bad-files.jsonl"
"""Where a run folder names the files that could not be read."""
VALIDATION = "validation.txt"
"""Where a run names the images that it held out of its data, as they are called below DATA."""
