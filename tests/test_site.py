"""The site builds without a warning, tutorials run, its links lead somewhere, and it asks nobody else for anything."""

import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from docs import reference_pages

import pcae
from pcae.settings.values import flags
from pcae.settings.verbs import VERBS, config_of
from pcae.settings.words import positional_metavars
from tests.browser import DESKTOP, PHONE, visited
from tests.documentation import ROOT, fences

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
LOOKED_AT = ("index", "tutorials/classifier", "reference/verbs/pretrain", "results", "export")


class Tags(HTMLParser):
    """The addresses on a page and its places: links that a reader follows, what a browser loads by itself, ids."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids.add(named.get("id"))
        addresses = [named[name] for name in ("src", "href", "data", "poster", "xlink:href") if named.get(name)]
        (self.links if tag == "a" else self.loaded).extend(addresses)


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_a_verb_has_every_setting_and_example(verb):
    page, cls = reference_pages.verb_page(verb), config_of(verb)
    places = positional_metavars(cls)
    for name in flags(cls):
        flag = places.get(name, "--" + name.replace("_", "-"))
        assert re.search(rf"`{flag}[`,]", page), name
    assert all(f"pcae {verb} {example}".rstrip() in page for example in cls.EXAMPLES)


def test_the_page_of_names_has_every_public_one():
    page = reference_pages.names_page()
    names = {*pcae._PUBLIC, *pcae._VERBS, *(f"detect.{verb}" for verb in pcae.detect.__all__)}
    assert {name for name in names if f"pcae.{name}" not in page} == set()


def test_every_block_of_a_tutorial_runs():
    """Cells run while the site is built, blocks of the shell in tests/test_commands_run.py."""
    kinds = {kind for page in TUTORIALS for _, kind, _ in fences(page.read_text())}
    assert kinds == {"{code-cell} python", "sh"}


@pytest.mark.slow
def test_the_site_stands_alone(tmp_path):
    """In one test, since building it takes minutes."""
    site = tmp_path / "site"  # notebooks as they ran go beside it
    words = ["--fail-on-warning", "--keep-going", "--quiet", "-b", "html", str(ROOT / "docs"), str(site)]
    built = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = {path: Tags(path) for path in site.rglob("*.html")}
    assert {f"{verb.replace(' ', '-')}.html" for verb in VERBS} == {
        path.name for path in (site / "reference" / "verbs").iterdir()
    }
    assert [asked for page in pages.values() for asked in page.loaded if "//" in asked] == []
    assert [path for path in site.rglob("*.css") if re.search(r"(url\(|@import)\W*(http|//)", path.read_text())] == []
    links = [(path, link) for path, page in pages.items() for link in {*page.links, *page.loaded}]
    assert [(path.name, link) for path, link in links if leads_nowhere(path, link, pages)] == []
    for tutorial in TUTORIALS:
        shown = (site / "tutorials" / f"{tutorial.stem}.html").read_text()
        assert "cell_output" in shown and "min left" not in shown  # results, and no progress
    for name, screen, scheme in itertools.product(LOOKED_AT, (PHONE, DESKTOP), ("light", "dark")):
        with visited((site / f"{name}.html").as_uri(), screen, color_scheme=scheme) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= screen[0], (name, screen)


def leads_nowhere(path: Path, link: str, pages: dict[Path, Tags]) -> bool:
    """Whether a link of a page is to a file or place of the site that is not there."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if parts.fragment and target in pages:
        return unquote(parts.fragment) not in pages[target].ids
    return not target.exists()
