"""HTML pages that stand alone, in one file each."""

import base64
import io
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from pcae.writing import replace_bytes


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write a page in one move, from a template beside this file."""
    replace_bytes(path, page_of(template, **values))


def page_of(template: str, **values: Any) -> bytes:
    """A page from a template beside this file. Names are escaped; what a name cannot say in UTF-8 becomes a
    backslash."""
    text = (resources.files("pcae.pages") / template).read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    return page.render(values).encode("utf-8", "backslashreplace")


def picture_address(picture: Image.Image, kind: str, **options: Any) -> str:
    """A picture as an address that holds it; kind: png, jpeg. options: Pillow's."""
    return as_address(picture_file(picture, kind, **options), kind)


def picture_file(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as a file; kind and options as in `picture_address`."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def as_address(picture: bytes, kind: str) -> str:
    """A picture's file as an address that holds it; kind: png, jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
