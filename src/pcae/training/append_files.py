"""Files that grow by whole records: lines of JSON, and numbers for TensorBoard."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Records:
    """A file that a run appends to. What the disk does not take whole is cut off again."""

    path: Path

    def __post_init__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError as error:
            raise ValueError(f"{self.path} cannot be written: {error.strerror}") from error

    def write(self, record: bytes, *, lasting: bool = False) -> None:
        """Append a record; `lasting`: the disk, not only the system, holds it then. Raises ValueError, naming the file,
        when the disk does not take it."""
        end = None
        try:
            with self.path.open("ab") as file:
                end = file.tell()
                file.write(record)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                if end is not None:
                    os.truncate(self.path, end)
            raise ValueError(f"{self.path} cannot be written: {error.strerror}") from error


class Board:
    """Numbers and words of a run as TensorBoard reads them, from after step `start` on.

    Written at once, not by a thread as TensorBoard's own writer does, which would fail where nobody looks.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.record_writer import RecordWriter

        seconds, rest = divmod(time.time_ns(), 10**9)  # names in the order of time: TensorBoard reads them so
        name = f"events.out.tfevents.{seconds:010}.{socket.gethostname()}.{os.getpid()}.{rest:09}"
        self.file = Records(folder / name)
        self.records = RecordWriter(self.file)
        self.add(file_version="brain.Event:2")
        self.add(step=start + 1, session_log=SessionLog(status=SessionLog.START))  # later steps of other files are void

    def add(self, **event: object) -> None:
        """Write an event."""
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self.records.write(Event(wall_time=time.time(), **event).SerializeToString())

    def number(self, name: str, value: int | float, step: int) -> None:
        """Write a number of a step."""
        from torch.utils.tensorboard.summary import scalar

        self.add(step=step, summary=scalar(name, value))

    def words(self, name: str, sentence: str, step: int) -> None:
        """Write a sentence about a step."""
        from torch.utils.tensorboard.summary import text

        self.add(step=step, summary=text(name, sentence))
