"""A folder of finished parts, on a disk or at an address: each is there whole or not at all."""

import io
import json
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pcae.data.shards.remote import Unreachable, filesystem, is_address, scheme_of, tried
from pcae.settings.sources import Data
from pcae.settings.values import place_of
from pcae.writing import UMASK, check_place, check_writable

JOB = "_job.json"
"""What the parts are of; it is written first. Names that begin so are no data to what reads folders of .parquet."""
BAD = re.compile(r"_bad-(\d+)\.jsonl")
PART = re.compile(r"part-(\d+)\.parquet")
WRITING = ".writing"
STALE = 3600
"""Seconds without a byte after which a part that was begun is taken for one of a process that is gone."""
NO_SINK = ("http", "https")


def check_folder(out: Path, data: Data) -> None:
    """Raise ValueError, before any work, for a folder that cannot be made, or lies inside the images."""
    if not is_address(place_of(out)):
        check_place(out, data)


def is_folder(out: Path) -> bool:
    """Whether parts are written there: to what has no suffix of a file, is a folder already, or is an address."""
    return is_address(place_of(out)) or not out.suffix or out.is_dir()


def check_alone(out: Path | None) -> None:
    """Raise ValueError where several processes would write one file, or lines to standard output."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        what = "the lines on standard output are" if out is None else f"out {str(out)!r} is"
        raise ValueError(f"{what} written by one process; give --out a folder for parts, or start it without torchrun")


def check_file(out: Path, *suffixes: str) -> None:
    """Raise ValueError, before any work, for what is neither a folder for parts nor a file of one of these suffixes
    that this process alone can write."""
    if out.suffix not in suffixes:
        raise ValueError(
            f"out {str(out)!r} must end in {' or '.join(suffixes)}, or be a folder, whose name has no suffix"
        )
    check_alone(out)
    check_writable(out)


class PartFolder:
    """Where parts are written, by number. place: a path, or an address in s3, gs or hf."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/") or place
        self.address = is_address(place)
        if self.address and scheme_of(place) in NO_SINK:
            raise ValueError(
                f"out {place!r} cannot be written: {scheme_of(place)} is only read; give a folder or s3://"
            )

    def part(self, number: int) -> str:
        """The name of a part."""
        return f"part-{number:05d}.parquet"

    def bad(self, number: int) -> str:
        """The name of the file that says what could not be read of a part."""
        return f"_bad-{number:05d}.jsonl"

    def names(self) -> list[str]:
        """What lies there, in order; nothing where there is no folder."""
        if not self.address:
            return sorted(os.listdir(self.place)) if Path(self.place).is_dir() else []  # noqa: PTH208
        return sorted(name.rpartition("/")[2] for name in self.asked(self.listed))

    def listed(self) -> list[str]:
        """What an address holds; nothing where there is no folder."""
        try:
            return self.files.ls(self.place, detail=False)
        except FileNotFoundError:
            return []

    def finished(self) -> set[int]:
        """The parts that are there."""
        return {int(found[1]) for name in self.names() if (found := PART.fullmatch(name))}

    def table(self) -> Any:
        """The rows of all parts, in order, as pyarrow has them."""
        from pyarrow import concat_tables

        return concat_tables(map(self.table_of, sorted(self.finished())))

    def table_of(self, number: int) -> Any:
        """The rows of a part."""
        from pyarrow import parquet

        return parquet.read_table(io.BytesIO(self.read(self.part(number))))

    def read(self, name: str) -> bytes:
        """A small file."""
        if self.address:
            return self.asked(lambda: self.files.cat_file(self.at(name)))
        return Path(self.at(name)).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """A small file, in one move."""
        beside = self.beside(name)
        beside.write_bytes(content)
        self.put(beside, name)

    def remove(self, name: str) -> None:
        """A small file, where it is there."""
        with suppress(FileNotFoundError):
            self.files.rm_file(self.at(name)) if self.address else Path(self.at(name)).unlink()

    def beside(self, name: str) -> Path:
        """A new file on this machine to write to, which `put` then moves; no other process has the same."""
        own = f".{name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}{WRITING}"
        return Path(tempfile.gettempdir() if self.address else self.place) / own

    def put(self, beside: Path, name: str) -> None:
        """Have a file that was written stand under its name."""
        try:
            if self.address:
                self.asked(lambda: self.files.put_file(str(beside), self.at(name)))
                return
            beside.chmod(0o666 & ~UMASK)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(self.at(name))
        except OSError as error:
            raise ValueError(f"{self.at(name)} cannot be written: {error.strerror or error}") from error
        finally:
            beside.unlink(missing_ok=True)

    def at(self, name: str) -> str:
        """The path or address of a file."""
        return f"{self.place}/{name}"

    @property
    def files(self) -> Any:
        """What reads and writes at its address, in this process."""
        return filesystem(scheme_of(self.place), os.getpid())

    def asked(self, once: Any) -> Any:
        """What an address answers, tried again where that may help. Raises ValueError."""
        try:
            return tried(self.place, once)
        except Unreachable as error:
            raise ValueError(str(error).replace("cannot be read", "cannot be used", 1)) from error

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Write down what the parts are of, or find that those that are there are of the same.

        Raises ValueError where they are of something else, or where the folder is another program's.
        """
        names = self.names()
        if JOB in names:
            check_same(self.place, self.job(), facts)
        elif names:
            raise ValueError(f"out {self.place!r} holds {names[0]!r} of another program; choose another folder")
        else:
            if not self.address:
                Path(self.place).mkdir(parents=True, exist_ok=True)
            self.write(JOB, (json.dumps(facts, indent=1) + "\n").encode())
        self.sweep(STALE)

    def job(self) -> dict[str, Any]:
        """What the parts are of. Raises ValueError where that is damaged."""
        try:
            return dict(json.loads(self.read(JOB)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"out {self.place!r} has a damaged {JOB}; remove the folder") from error

    def sweep(self, seconds: float) -> None:
        """Remove what processes that are gone had begun to write."""
        for path in [] if self.address else Path(self.place).glob(f".*{WRITING}"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime >= seconds:
                    path.unlink()


def check_same(place: str, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Raise ValueError naming what differs between the parts that are there and those that are asked for."""
    for name in mine.keys() | theirs.keys():
        if mine.get(name) != theirs.get(name):
            raise ValueError(
                f"out {place!r} holds parts made with {name} = {theirs.get(name)}, not {mine.get(name)}; choose "
                "another folder"
            )
