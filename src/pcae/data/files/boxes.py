"""The boxes of which JPEG 2000, JPEG XL and AVIF files are made."""

import struct
from collections.abc import Iterator


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes that lie in some bytes, one after the other. The last one may be cut off."""
    place = 0
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        start = place + 8
        if length == 1 and start + 8 <= len(content):
            length, start = struct.unpack(">Q", content[start : start + 8])[0], start + 8
        end = place + length if length else len(content)
        if end < start:
            return
        yield kind, content[start:end]
        place = end


def find_box(content: bytes, *path: bytes) -> bytes | None:
    """The content of the first box of a kind, inside the first of another kind, and so on."""
    for kind in path:
        found = next((inside for name, inside in boxes(content) if name == kind), None)
        if found is None:
            return None
        content = found
    return content
