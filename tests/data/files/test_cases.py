"""Every case comes out as it was written, or is refused with the remedy, and check-data says the same as a run."""

import io
import re

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pcae.data.files.decode import Unreadable, decode
from pcae.data.images import open_images
from pcae.data.survey import look
from tests.data.files import formats, rare
from tests.data.files.cases import CASES, colours, jp2, tiff

CASES = CASES | formats.FORMATS | rare.RARE
ROUNDED = {"AVIF, 12 bits": 2, "AVIF, 10 bits, a range": 2} | formats.ROUNDED | rare.ROUNDED
"""Gray levels that formats with loss may be away; others one."""


@pytest.mark.parametrize("name", CASES)
def test_it_shows_what_was_written_and_check_data_agrees(tmp_path, name):
    case = CASES[name]()
    (tmp_path / "image.png").write_bytes(case.content)  # the first bytes decide, not the name
    images = open_images(str(tmp_path), channels=case.channels, pixel_range=case.span)
    facts = look(images, 0)
    if isinstance(case.right, str):
        with pytest.raises(Unreadable, match=case.right) as caught:
            images.open(0)
        assert "\n" not in str(caught.value) and facts.error == caught.value.reason
        return
    right = case.right if case.right.ndim == 3 else case.right[..., None]
    found = images.open(0)
    assert found.shape == right.shape and np.abs(found - right).max() <= ROUNDED.get(name, 1) + 1e-6
    assert facts.error is None and facts.size[0] * facts.size[1] == right.shape[0] * right.shape[1]
    known = np.isfinite(found[..., 0])
    if not facts.missing:
        assert facts.mean == pytest.approx((found[known] / 255).mean(0).tolist())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "range" not in name])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9, "tail"])
def test_a_file_that_is_cut_off_is_never_read(name, share):
    case = CASES[name]()
    length = len(case.content) - 16 if share == "tail" else int(len(case.content) * share)
    if name.startswith("FITS"):
        length = min(length, len(case.content) - 2880)  # the file ends with room that nothing fills
    with pytest.raises(Unreadable) as caught:
        decode(case.content[:length], case.channels, case.span, "a")
    assert re.search(r"\w{3}", caught.value.reason)
    assert not re.search(r"\n|imagecodecs|not 3", caught.value.reason)


def low_files() -> dict[str, bytes]:
    """Files of 16 bits that reach to 4,000, all but their opacity or what they call no data."""
    low = np.rint(colours() * 4000).astype(np.uint16)
    opaque, holed = np.full_like(low[..., :1], 65535), np.where(low[..., 0] > 100, low[..., 0], 65535)
    return {
        "JPEG 2000": jp2(low),
        "JPEG XL": imagecodecs.jpegxl_encode(low, lossless=True),
        "PPM": b"P6 32 24 65535\n" + low.astype(">u2").tobytes(),
        "opacity": tiff(np.concatenate([low, opaque], -1), photometric="rgb", extrasamples=["unassalpha"]),
        "no data": tiff(holed, extratags=[(42113, 2, 6, "65535", True)]),
    }


@pytest.mark.parametrize("name", low_files())
def test_check_data_sees_that_16_bits_are_used_in_part(tmp_path, name):
    (tmp_path / "image.png").write_bytes(low_files()[name])
    facts = look(open_images(str(tmp_path)), 0)
    assert facts.error is None and facts.values is not None and facts.values[1] == 4000 and not facts.declared


BY_PILLOW = {
    "JPEG": {},
    "JPEG, progressive": {"progressive": True},
    "PNG": {},
    "WEBP": {},
    "GIF": {},
    "BMP": {},
    "AVIF": {},
    "JPEG2000": {},
    "TIFF": {},
    "TIFF, LZW": {"compression": "tiff_lzw"},
    "TIFF, JPEG": {"compression": "jpeg"},
}


@pytest.mark.parametrize("name", BY_PILLOW)
def test_a_picture_that_is_cut_off_is_never_read(name):
    file = io.BytesIO()
    Image.fromarray((colours(60, 80) * 255).astype(np.uint8)).save(file, name.split(",")[0], **BY_PILLOW[name])
    content = file.getvalue()
    assert decode(content, 3).shape == (60, 80, 3)
    for share in (0.25, 0.5, 0.9):
        with pytest.raises(Unreadable):
            decode(content[: int(len(content) * share)], 3)
