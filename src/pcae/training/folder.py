"""A run folder: what may start there, what goes on there."""

from pathlib import Path
from typing import Any

from pcae.training.checkpoint import Checkpoints, read_header, replace_text


def find_checkpoint(checkpoints: Checkpoints, resume: str) -> Path | None:
    """The checkpoint that a run goes on from: with resume=auto its own newest, with a path that one.

    Raises ValueError when the path is no file, or when resume=never and the folder holds a run.
    """
    newest, folder = checkpoints.last(), checkpoints.folder.parent
    if resume == "auto":
        return newest
    if resume == "never":
        if newest:
            raise ValueError(
                f"out {str(folder)!r} holds another run; choose another folder, or --resume auto to go on with it"
            )
        return None
    path = Path(resume).expanduser()
    if not path.is_file():
        raise ValueError(f"resume {resume!r} is no checkpoint; give auto, never or the path of a checkpoint file")
    if newest and path.parent.resolve() != newest.parent.resolve():
        raise ValueError(f"out {str(folder)!r} holds another run than {resume!r}; choose another folder")
    return path


def facts_of(checkpoint: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The facts in a checkpoint of a run with these settings. Raises ValueError naming a setting that differs."""
    facts = read_header(checkpoint)
    if "settings" not in facts:
        raise ValueError(f"{checkpoint} is no checkpoint of a run; checkpoints lie in the folder `checkpoints`")
    theirs = facts["settings"]
    for name in settings.keys() | theirs.keys():
        if settings.get(name) != theirs.get(name):
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
