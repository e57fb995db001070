"""What W&B keeps of an offline run: its transaction log, LevelDB's form of records, each a protocol buffer."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator[bytes]:
    """The records of a log: behind a header of 7 bytes, in parts that do not cross the ends of blocks."""
    content, place, whole = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + HEADER])
        whole += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # a whole one, or the last part
            yield whole
            whole = b""


def messages(folder: Path) -> Iterator[Any]:
    """What was told of all runs below a folder, in order."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(folder.rglob("*.wandb")):
        for record in records(path):
            message = Record()
            message.ParseFromString(record)
            yield message


def history(folder: Path) -> list[dict[str, Any]]:
    """Rows that were logged, without W&B's own columns."""
    rows = [message.history for message in messages(folder) if message.WhichOneof("record_type") == "history"]
    named = [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in named]
