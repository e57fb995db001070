"""Files at addresses (http, https, s3, gs, hf), read a range at a time; what fails for a moment is tried again."""

import io
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pcae.data.files.bounds import MOST_BYTES

SCHEMES = ("http", "https", "s3", "gs", "hf")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|pipe:", re.IGNORECASE)
CHUNK = 2**22
"""Bytes that are asked for at once where a file is read to its end."""
SMALL_CHUNK = 2**16
"""The same where only a few of them are wanted: the headers of a .tar, the end of a .parquet."""
WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds of waiting before another try."""
PATIENCE = 60
"""Seconds without a byte after which a server is taken for dead."""
FOR_A_MOMENT = {408, 429}
"""Answers below 500 after which another try helps: too slow, too many."""
BESIDES = {"gs": "gcsfs"}
"""Packages that are not among those of pcae[scale], by the kind of address that needs them."""
PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
T = TypeVar("T")


@dataclass
class Retries:
    """How often this process has tried again."""

    count: int = 0


RETRIES = Retries()


class Unreachable(ValueError):
    """A file at an address that cannot be read, however often it is tried."""


class Absent(Unreachable):
    """A file at an address that is not there, or may not be read: another try would end alike."""


class SourceGone(ValueError):
    """A server, or a shard, of which nothing can be read any more: no image of it is known to be missing."""


class TooLarge(OSError):
    """An answer of more bytes than are safe to read."""


class RangesIgnored(OSError):
    """A server sends all of a file where a part of it was asked for."""


def is_address(data: str) -> bool:
    """Whether this is no path of a file, of whatever kind it may be."""
    return ADDRESS.match(data) is not None


def check_address(address: str) -> None:
    """Raise ValueError for an address of a kind that is not read, or of a chain of them."""
    scheme, _, place = address.partition("://")
    if scheme not in SCHEMES or not place:
        raise ValueError(f"address {address!r} is none that is read; give one of {', '.join(SCHEMES)}, or a path")
    if "::" in address:
        raise ValueError(f"address {address!r} is a chain of several ('::'); give a plain one")


class RangeFile(io.RawIOBase):
    """A file at an address: every read asks for a range of bytes, at a position that is kept here."""

    def __init__(self, address: str) -> None:
        self.address, self.size, self.position = address, size_of(address), 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Have the next read begin elsewhere."""
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file has bytes. Raises Unreachable."""
        content = fetch(self.address, self.position, min(self.position + len(buffer), self.size))
        buffer[: len(content)] = content
        self.position += len(content)
        return len(content)


class RemoteShard:
    """A shard at an address, read as one on a disk is."""

    def __init__(self, address: str, chunk: int = CHUNK) -> None:
        self.file = io.BufferedReader(RangeFile(address), chunk)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at a place."""
        self.file.seek(offset)
        return self.file.read(size)


def fetch(address: str, start: int, end: int) -> bytes:
    """The bytes from `start` to `end` of a file. Raises Unreachable when they cannot be had."""
    if end <= start:
        return b""

    def once() -> bytes:
        content = filesystem(scheme_of(address), os.getpid()).cat_file(address, start=start, end=end)
        if len(content) > end - start:
            raise RangesIgnored
        if len(content) < end - start:
            raise ConnectionError(f"{len(content)} bytes came of {end - start} from {start} on")
        return content

    return tried(address, once)


def image_at(address: str) -> bytes:
    """All bytes of an image. Raises ValueError where there is none, or too much, and SourceGone."""

    def once() -> bytes:
        files = filesystem(scheme_of(address), os.getpid())
        whole = scheme_of(address) in {"http", "https"}  # of which many know no ranges
        return files.cat_file(address) if whole else files.cat_file(address, start=0, end=MOST_BYTES + 1)

    try:
        content = tried(address, once)
    except Absent:
        raise
    except Unreachable as error:
        raise SourceGone(str(error)) from error
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more bytes than are safe to read ({MOST_BYTES:,})")
    return content


def size_of(address: str) -> int:
    """The bytes that a file has. Raises Unreachable when the server does not say."""
    size = tried(address, lambda: filesystem(scheme_of(address), os.getpid()).info(address)["size"])
    if size is None:
        raise Unreachable(f"address {address!r} cannot be read: its server does not say how large it is")
    return size


def tried(address: str, once: Callable[[], T]) -> T:
    """What `once` returns; it is called again, after longer and longer waits, where that may help.

    Raises Unreachable, with the address and the last reason.
    """
    check_address(address)
    for number, wait in enumerate((*WAITS, None), 1):
        try:
            return once()
        except ImportError as error:
            package = BESIDES.get(scheme_of(address), "'pcae[scale]'")
            raise Unreachable(f"address {address!r} needs a package: pip install {package} ({error})") from error
        except Exception as error:  # each kind of store has errors of its own
            cause = behind(error)
            if isinstance(cause, RangesIgnored):
                raise Unreachable(
                    f"address {address!r} cannot be read: its server sends all of a file where a part is asked for "
                    "(HTTP ranges); use a server that has them, or copy the files to a disk"
                ) from error
            if wait is None or is_permanent(cause):
                times = f" (tried {number} times)" if number > 1 else ""
                kind = Absent if is_permanent(cause) else Unreachable
                raise kind(f"address {address!r} cannot be read: {words(cause)}{times}") from error
            RETRIES.count += 1
            time.sleep(wait)
    raise AssertionError


def behind(error: Exception) -> Exception:
    """What an error comes from: fsspec calls whatever goes wrong with a header a file that is not there."""
    cause = error.__cause__
    return cause if isinstance(error, FileNotFoundError) and isinstance(cause, Exception) else error


def is_permanent(error: Exception) -> bool:
    """Whether another try would end alike."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return status < 500 and status not in FOR_A_MOMENT
    return isinstance(error, (*PERMANENT, TooLarge))


def words(error: Exception) -> str:
    """Why it failed, in one line."""
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return "there is no such file"
    if status:
        return f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
    return " ".join(str(error).split()) or type(error).__name__


def scheme_of(address: str) -> str:
    """What stands before the ://."""
    return address.partition("://")[0]


@lru_cache(maxsize=16)
def filesystem(scheme: str, process: int) -> Any:
    """What reads files of a kind in this process: one from before a fork waits for a thread that is not there.

    process: the number of this one. Raises ImportError when a package for the kind is missing.
    """
    import fsspec

    options = http_options() if scheme in {"http", "https"} else {}
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)


def http_options() -> dict[str, Any]:
    """How long servers may take, and that whole files in place of ranges are refused before they are read."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    headers = {"Accept-Encoding": "identity"}  # a range of what is compressed on the way is another one
    return {"client_kwargs": {"timeout": timeout, "headers": headers, "raise_for_status": refuse_whole}}


async def refuse_whole(response: Any) -> None:
    """Raise RangesIgnored, before any of it is read, for an answer with all of a file where a part was asked for, and
    TooLarge for one that is."""
    if (response.content_length or 0) > MOST_BYTES:
        response.close()
        raise TooLarge(f"its {response.content_length:,} bytes are more than are safe to read ({MOST_BYTES:,})")
    if "Range" in response.request_info.headers and response.status == 200:
        response.close()
        raise RangesIgnored
