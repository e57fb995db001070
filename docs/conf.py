"""The site as Sphinx builds it: `make docs`. Pages are Markdown; tutorials are notebooks, which run while it builds."""

import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from docs import reference_pages  # noqa: E402

project = "pcae"
smartquotes = False  # two dashes are a flag
html_title = "pcae"
extensions = ["myst_nb"]
exclude_patterns = ["examples", "results/*"]
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_copyright = html_show_sphinx = html_copy_source = False
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
myst_heading_anchors = 4
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # progress of runs

INCLUDED = re.compile(r"^```\{include\} \.\./(\S+)\n```$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^][]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
IMAGE = re.compile(r"(!\[[^][]*\])\(([^)\s]+)\)")
PAGES = {"README.md": "index.md", "findings/README.md": "findings.md"}
PAGES |= {f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING")}
"""Pages beside docs/, and what stands for them on the site."""


def moved(text: str, folder: Path) -> str:
    """Text of a page in `folder` with its links as they are from docs/. A link to a folder becomes its words."""

    def path(target: str) -> str:
        whole = Path(os.path.normpath(folder / target))
        result = "path:" if whole.suffix == ".md" and DOCS / "results" in whole.parents else ""  # a file, no page
        return result + PAGES.get(str(whole.relative_to(ROOT)), os.path.relpath(whole, DOCS))

    def link(found: re.Match[str]) -> str:
        words, target, place = found.groups("")
        if re.match(r"\w+:", target):
            return found[0]
        return words if (folder / target).is_dir() else f"[{words}]({path(target)}{place})"

    return IMAGE.sub(lambda found: f"{found[1]}({path(found[2])})", LINK.sub(link, text))


def read(app, docname: str, source: list[str]) -> None:
    """Pages of docs/ with others included, and with links that lead to pages of the site."""
    if "/" in docname:
        return
    for name in INCLUDED.findall(source[0]):
        app.env.note_dependency(str(ROOT / name))
    page = moved(source[0], DOCS)
    source[0] = INCLUDED.sub(lambda found: moved((ROOT / found[1]).read_text("utf-8"), (ROOT / found[1]).parent), page)


def reach(app, page: str, template: str, context: dict, tree) -> None:
    """Whoever has no mouse scrolls what is wide; headings of the navigation say their level, as ARIA wants it."""
    wide = re.compile(r'<(pre|div)(?=(?<=pre)>| class="(?:table-wrapper|output text_html))')
    context["body"] = wide.sub(r'<\1 tabindex="0"', context.get("body", ""))
    named = context["furo_navigation_tree"].replace('role="heading"', 'role="heading" aria-level="2"')
    context["furo_navigation_tree"] = named


def setup(app) -> None:
    """What Sphinx calls first."""
    reference_pages.write(DOCS / "reference")
    app.connect("source-read", read)
    app.connect("html-page-context", reach, priority=900)  # behind the theme
