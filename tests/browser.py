"""A headless browser without network, which notes every error of a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

DESKTOP, PHONE = (1280, 900), (390, 844)
"""Width and height of a screen in pixels."""
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that moves, and nobody who has to allow it."""


@contextmanager
def opened(path: Path, screen: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """The page in a file, opened offline; anything that it asks the network for, logs as an error or throws is an
    AssertionError at the end."""
    with visited(path.resolve().as_uri(), screen) as page:
        yield page


@contextmanager
def visited(
    address: str,
    screen: tuple[int, int] = DESKTOP,
    flags: tuple[str, ...] = (),
    forgiven: tuple[str, ...] = (),
    **options: Any,
) -> Iterator[Page]:
    """A page at an address; anything that it asks another server for, logs as an error or throws is an AssertionError
    at the end.

    forgiven: parts of what may be logged all the same. options: the browser's, such as `color_scheme`.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need a chromium; Debian: apt-get install chromium"
    own, local = address.rpartition("/")[0], address.startswith("file:")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
        size = {"width": screen[0], "height": screen[1]}
        context, faults = browser.new_context(viewport=size, offline=local, **options), []
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        context.on("request", lambda asked: faults.append(asked.url) if asks_elsewhere(asked.url, own) else None)
        page.goto(address)
        yield page
        browser.close()
    assert not (left := [fault for fault in faults if not any(part in fault for part in forgiven)]), left


def asks_elsewhere(address: str, own: str) -> bool:
    """Whether a request goes out to the network, but to a page's own server."""
    return address.startswith(("http", "ws")) and not address.startswith(f"{own}/")
