"""The two files of onnxruntime-web that a page of `--to web` runs on, out of npm's package."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

VERSION = "1.30.0"
"""The release that the page is written for and tested with."""
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""Its program, and what computes, without GPUs."""
GET = f"get it: npm pack onnxruntime-web@{VERSION}"
"""The command that leaves the package, in the words of errors."""
Read = Callable[[str], bytes]
"""The content of a file of the package by its name; KeyError or OSError where it is not there."""


def runtime_files(path: Path | None) -> dict[str, bytes]:
    """The files by their names, of an unpacked package (node_modules/onnxruntime-web) or of npm's .tgz.

    Raises ValueError, with the command that gets it, for no package and for one of another version.
    """
    if path is None:
        raise ValueError(f"--to web needs --onnxruntime-web PATH, the .tgz or folder of npm's package; {GET}")
    if not path.exists():
        raise ValueError(f"onnxruntime_web {str(path)!r} is not there; {GET}")
    try:
        if path.is_dir():
            return taken(lambda name: (path / name).read_bytes(), path)
        with tarfile.open(path) as archive:
            return taken(lambda name: member(archive, f"package/{name}"), path)
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise ValueError(f"onnxruntime_web {str(path)!r} is no whole package of onnxruntime-web; {GET}") from error


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of a file in an archive. Raises KeyError where it has none of that name."""
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def taken(read: Read, path: Path) -> dict[str, bytes]:
    """The two files, of the right version. Raises ValueError for another one."""
    said = description(read("package.json"))
    if (said.get("name"), said.get("version")) != ("onnxruntime-web", VERSION):
        found = f"{said.get('name')} {said.get('version')}"
        raise ValueError(
            f"onnxruntime_web {str(path)!r} holds {found}, the page needs onnxruntime-web {VERSION}; {GET}"
        )
    return {name: read(f"dist/{name}") for name in FILES}


def description(content: bytes) -> dict[str, object]:
    """What a package.json says. Raises KeyError for what is none."""
    try:
        said = json.loads(content)
    except ValueError as error:
        raise KeyError("package.json") from error
    if not isinstance(said, dict):
        raise KeyError("package.json")
    return said
