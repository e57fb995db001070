"""Pictures as the script of `--to web` reads them in a browser, against pcae's own reading of the same files."""

import base64
import random
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.data.crops import WholeImages, between_pixels, covering, cut
from pcae.data.files.decode import Part, reduction
from pcae.data.images import open_images
from pcae.pages.web_page import FILES, page_files
from tests.browser import visited
from tests.photographs import KINDS, photographs
from tests.servers import http_without_ranges

EXACT = ["png", "png, palette", "png, rgba", "png, 16 bits", "png, 1 bit", "webp", "gif", "bmp"]
LOSSY = ["jpeg", "jpeg, cmyk", "jpeg, gray", "jpeg, rotated"]
TO_TEXT = """
  const asText = bytes => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(text);
  };
  const asBytes = text => Uint8Array.from(atob(text), sign => sign.charCodeAt(0));
"""
RESIZE = f"""async ([text, height, width, channels, down, across]) => {{ {TO_TEXT}
  const {{ resizeAxis }} = await import("/pixels.mjs");
  const narrow = resizeAxis(asBytes(text), height, width, channels, across);
  return asText(resizeAxis(narrow, 1, height, across * channels, down));
}}"""
READ = f"""async ([text, facts]) => {{ {TO_TEXT}
  const {{ orientationOf, pixelsOf }} = await import("/pixels.mjs"), bytes = asBytes(text);
  const options = {{ imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" }};
  const bitmap = await createImageBitmap(new Blob([bytes]), options);
  return asText(pixelsOf(bitmap, facts, orientationOf(bytes)));
}}"""
PLAN = """async asked => {
  const { planOf } = await import("/pixels.mjs");
  return asked.map(({ size, target, crop, orientation }) => planOf(size, target, crop, orientation));
}"""
TURN = """async all => {
  const { orientationOf } = await import("/pixels.mjs");
  return all.map(bytes => orientationOf(Uint8Array.from(bytes)));
}"""
TURNS = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
"""EXIF's orientations of which the stored right is the upright left, and the stored bottom the upright top."""


def picture(text: str, *shape: int) -> torch.Tensor:
    """Channels first, of bytes of height x width x channels in base 64."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape).copy()).permute(2, 0, 1)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """An empty page beside the scripts."""
    root = tmp_path_factory.mktemp("site")
    for name, content in page_files().items():
        (root / name).write_bytes(content)
    (root / "empty.html").write_text('<!doctype html><link rel="icon" href="data:,">')
    with http_without_ranges(root) as address, visited(f"{address}/empty.html") as opened:
        yield opened


def test_the_filter_is_torchs_to_the_bit(page):
    """Of noise, whose overshoots are cut off at black and white, up and down, gray and colour."""
    draw = random.Random(0)
    for channels in (1, 3) * 12:
        (height, width), (down, across) = [[draw.randint(low, high) for _ in "hw"] for low, high in ((3, 160), (2, 90))]
        noise = np.frombuffer(draw.randbytes(height * width * channels), np.uint8).reshape(height, width, channels)
        sent = [base64.b64encode(noise.tobytes()).decode(), height, width, channels, down, across]
        expected = cut(noise, (0.0, 0.0, float(width), float(height)), (across, down))
        assert torch.equal(picture(page.evaluate(RESIZE, sent), down, across, channels), expected), sent[1:]


def test_the_part_that_is_looked_at_is_ours_for_any_size(page):
    """And how many times smaller a JPEG is read, whichever way it lies: by the rule of `pcae.data.files.decode`."""
    draw, asked = random.Random(1), []
    for orientation in [*range(9)] * 60:
        size, target = [[draw.randint(low, high) for _ in "hw"] for low, high in ((1, 2000), (8, 384))]
        asked.append(
            {"size": size, "target": target, "crop": draw.choice([1.0, 0.875, 0.9, 0.95]), "orientation": orientation}
        )
    for one, plan in zip(asked, page.evaluate(PLAN, asked), strict=True):
        size, target = tuple(one["size"]), tuple(one["target"])
        box = covering(size, target, one["crop"])
        times = reduction(Part(box, target)) if one["orientation"] else 1
        beyond = [
            turned * (-side % times) for turned, side in zip(TURNS.get(one["orientation"], (0, 0)), size, strict=True)
        ]
        moved = tuple((side + beyond[index % 2]) / times for index, side in enumerate(box))
        left, top, right, bottom = between_pixels(moved)
        wide, high = (-(-side // times) for side in size)
        expected = [left, top, min(right, wide) - left, min(bottom, high) - top]
        assert (plan["times"], [plan["across"], plan["down"]], plan["part"]) == (times, beyond, expected), one


def read_both(page, folder: Path, channels: int, size: tuple[int, int], crop: float):
    """Every picture of a folder, by pcae and in the browser."""
    images, facts = open_images(str(folder), "train", channels), {"image_size": size, "channels": channels}
    ours = WholeImages(images, size, crop)
    for index, name in enumerate(images.names):
        content = base64.b64encode((folder / name).read_bytes()).decode()
        yield name, ours[index], picture(page.evaluate(READ, [content, facts | {"crop_pct": crop}]), *size, channels)


@pytest.fixture(scope="module", params=[*EXACT, *LOSSY])
def kind(request, tmp_path_factory):
    """Photographs of one kind, some much larger than the model."""
    folder = tmp_path_factory.mktemp("photos")
    for index, image in enumerate(photographs()[:4]):
        KINDS[request.param](image.crop((0, 0, image.width - index, image.height - 2 * index)), folder / f"{index}")
    return request.param, folder


@pytest.mark.parametrize(("channels", "size", "crop"), [(3, (64, 96), 0.9), (1, (28, 28), 1.0)])
def test_a_picture_is_read_as_pcae_reads_it(page, kind, channels, size, crop):
    """To the bit, transparency on white too. Of a JPEG that is much larger, decoders make a smaller one in passing, by
    means of cells; the browser takes those of what it has decoded in full, which is less than a level beside it."""
    name, folder = kind
    for path, ours, theirs in read_both(page, folder, channels, size, crop):
        apart = (ours.int() - theirs.int()).abs()
        assert apart.max() <= (0 if name in EXACT else 16), path
        assert apart.float().mean() <= (0 if name in EXACT else 0.8), path


def test_a_picture_is_read_in_strips_without_a_seam(page, tmp_path):
    """Of six million pixels, read in two parts."""
    photographs()[0].resize((2400, 2500)).save(tmp_path / "large.png", compress_level=1)
    for _, ours, theirs in read_both(page, tmp_path, 3, (32, 32), 1.0):
        assert torch.equal(ours, theirs)


def test_orientation_is_what_exif_says_of_a_jpeg_alone(page):
    """1 where it says nothing or is cut off, 0 for other files."""
    turned = []
    for orientation in range(9):
        buffer, exif = BytesIO(), Image.Exif()
        exif[0x010F] = "a maker"
        exif.update({0x0112: orientation} if orientation else {})
        Image.new("RGB", (8, 8)).save(buffer, "jpeg", exif=exif)
        turned.append(buffer.getvalue())
    cases = [*turned, turned[6][:30], turned[6][:2], b"", b"\x89PNG\r\n\x1a\n" + bytes(40)]
    assert page.evaluate(TURN, [[*case] for case in cases]) == [1, *range(1, 9), 1, 1, 0, 0]


def test_no_file_of_the_page_names_a_server():
    assert set(page_files()) == set(FILES)
    assert [name for name, content in page_files().items() if re.search(rb"https?:|wss?:|[\"'(]//", content)] == []
