"""A headless browser without network, which notes every error of a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DESKTOP, PHONE = (1280, 900), (390, 844)
"""Width and height of a screen in pixels."""
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@contextmanager
def opened(path: Path, screen: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """The page in a file, opened offline; anything that it asks the network for, logs as an error or throws is an
    AssertionError at the end."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need a chromium; Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        context = browser.new_context(viewport={"width": screen[0], "height": screen[1]}, offline=True)
        page, faults = context.new_page(), []
        page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: faults.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(path.resolve().as_uri())
        yield page
        browser.close()
    assert not faults, faults
