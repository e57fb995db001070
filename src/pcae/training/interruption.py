"""A run that is asked to stop finishes its step and is saved; asked twice, it stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and was saved: the same command goes on."""


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """What SIGTERM and SIGINT set meanwhile, instead of what they did; the second one does that again.

    Python hears signals in the main thread alone; in another one nothing is set.
    """
    asked, before = threading.Event(), {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        restore()  # first: a second request inside of set() would wait for itself
        asked.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield asked
    finally:
        restore()
