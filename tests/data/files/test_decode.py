"""Every kind of image file that people have, against the same photograph saved without loss."""

import pickle
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from pcae.data.crops import picture_of
from pcae.data.files.decode import Part, Unreadable, decode, decode_part
from pcae.data.files.eight_bits import to_eight_bits
from pcae.data.files.stored import ORIENTATION
from pcae.data.images import open_images
from pcae.data.survey import look
from tests.photographs import KINDS

PHOTOGRAPH = Image.fromarray(data.chelsea()[40:220, 60:300])


def apart(one: Image.Image, two: Image.Image) -> float:
    """Mean difference of two images in gray levels."""
    assert one.size == two.size and one.mode == two.mode
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(two, dtype=float)).mean())


def shown(path, channels: int) -> Image.Image:
    """The picture in a file."""
    return picture_of(decode(str(path), channels))


def expected(kind: str) -> Image.Image:
    """What the file shows, as colour."""
    if "rotated" in kind:
        return PHOTOGRAPH.transpose(Image.Transpose.ROTATE_270)
    if "1 bit" in kind:
        return PHOTOGRAPH.convert("1").convert("RGB")
    if "gray" in kind or kind == "png, 16 bits":
        return PHOTOGRAPH.convert("L").convert("RGB")
    if "rgba" in kind:
        pixels, opacity = np.asarray(PHOTOGRAPH, float), np.asarray(PHOTOGRAPH.convert("L"), float)[..., None] / 255
        return Image.fromarray((pixels * opacity + 255 * (1 - opacity)).round().astype(np.uint8))
    return PHOTOGRAPH


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_the_same_photograph(tmp_path, kind):
    KINDS[kind](PHOTOGRAPH.copy(), tmp_path / "a photo")
    path = str(next(tmp_path.iterdir()))
    colour, gray = shown(path, 3), shown(path, 1)
    assert (colour.mode, gray.mode) == ("RGB", "L")
    tolerance = 12 if "palette" in kind or kind == "gif" else 5
    assert apart(colour, expected(kind)) < tolerance
    assert apart(gray, expected(kind).convert("L")) < tolerance
    assert apart(gray, Image.fromarray(255 - np.asarray(expected(kind).convert("L")))) > 30


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("bands", [2, 4, 5, 12])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_many_bands_keeps_them_all(tmp_path, layout, bands, bits):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, bands)).astype(np.uint8)
    stored = pixels if bits == 8 else pixels.astype(np.uint16) * 256
    stored = stored if layout == "contig" else np.moveaxis(stored, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=layout)
    assert np.array_equal(decode(str(tmp_path / "a.tif"), bands), pixels)
    with pytest.raises(Unreadable, match=f"it has {bands} channels, not 7; see --channels"):
        decode(str(tmp_path / "a.tif"), 7)


def test_four_channels_of_a_png_are_colour_and_opacity(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decode(str(tmp_path / "a.png"), 4), pixels)
    PHOTOGRAPH.save(tmp_path / "b.png")
    assert np.all(decode(str(tmp_path / "b.png"), 4)[..., 3] == 255)


def test_transparency_is_laid_over_white(tmp_path):
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(tmp_path / "a.png")
    for channels in (1, 3):
        assert np.array_equal(decode(str(tmp_path / "a.png"), channels), np.full((4, 4, channels), 255))


def test_16_bits_and_floats_are_scaled_by_a_rule_that_knows_no_neighbours():
    assert to_eight_bits(np.array([0, 1000, 25_700, 65_535], np.uint16), 0.0, 65_535.0).tolist() == [0, 3, 100, 255]
    assert to_eight_bits(np.array([0, 0.5, 1], np.float32), 0.0, 1.0).tolist() == [0, 128, 255]
    assert to_eight_bits(np.array([0, np.nan, 1.0]), 0.0, 1.0).tolist() == [0, 0, 255]
    assert to_eight_bits(np.array([True, False]), 0.0, 1.0).tolist() == [255, 0]


def test_a_pixel_range_says_what_is_black_and_white():
    assert to_eight_bits(np.array([0, 2048, 4095, 65_535], np.uint16), 0.0, 4095.0).tolist() == [0, 128, 255, 255]
    kelvin = np.array([250.0, 300.0, -np.inf, np.inf, np.nan], np.float32)
    assert to_eight_bits(kelvin, 250.0, 350.0).tolist() == [0, 128, 0, 255, 0]


@pytest.mark.parametrize("pixels", [np.array([[0.5, 2.0]], np.float32), np.array([[-3, 5]], np.int16)])
def test_pixels_of_unknown_range_are_refused_with_the_remedy(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(
        Unreadable, match=r"a.tif' cannot be read: its .* pixels reach from .* give --pixel-range LOW HIGH"
    ):
        decode(str(tmp_path / "a.tif"), 1)
    assert decode(str(tmp_path / "a.tif"), 1, (-3.0, 5.0)).shape == (1, 2, 1)


def png(width: int, height: int, bits: int, colour: int, rows: bytes, interlaced: bool = False) -> bytes:
    """A PNG from the bytes of its rows, or of its seven passes' rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("bands", [1, 3])
def test_an_interlaced_png_of_8_bits_is_whole(tmp_path, bands):
    pixels = np.asarray(PHOTOGRAPH.crop((0, 0, 37, 21)))[..., :bands]
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    rows = [row.tobytes() for top, down, left, across in passes for row in pixels[top::down, left::across]]
    content = png(37, 21, 8, 0 if bands == 1 else 2, b"".join(b"\0" + row for row in rows), interlaced=True)
    assert np.array_equal(decode(content, bands), pixels)


def test_decompression_bombs_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(60_000, 60_000, bits=8, colour=0, rows=b"\0" * 99))
    (tmp_path / "b.png").write_bytes(png(16_000, 16_000, bits=16, colour=0, rows=b"\0" * 99))
    for name in ("a.png", "b.png"):
        with pytest.raises(Unreadable, match=r"pixels"):
            decode(str(tmp_path / name), 3)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 20, 20), np.uint8), planarconfig="separate", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:  # a small file that claims to be a large image
        for side in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[side].overwrite(20_000)
    facts = [look(open_images(str(tmp_path)), index) for index in range(3)]
    assert all(one.error and one.values is None for one in facts)
    with pytest.raises(Unreadable, match="20,000 x 20,000 pixels in 5 bands are more than"):
        decode(str(tmp_path / "a.tif"), 5)


@pytest.mark.parametrize(
    "torn",
    [b"", b"no image", b"\x89PNG\r\n\x1a\n torn", b"GIF89a", b"II*\0\x08\0\0\0\xff\xff", b"RIFF\0\0\0\0WEBPVP8 "],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 5])
def test_what_is_no_image_is_refused_in_one_line(tmp_path, torn, suffix, channels):
    path = tmp_path / f"a\n.{suffix}"
    path.write_bytes(torn)
    with pytest.raises(Unreadable) as caught:
        decode(str(path), channels)
    assert "\n" not in str(caught.value) and f"a\\n.{suffix}" in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))  # a reading process hands it on
    assert (copy.path, copy.reason) == (caught.value.path, caught.value.reason)


def test_half_a_photograph_is_refused(tmp_path):
    PHOTOGRAPH.save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable, match="truncated"):
        decode(str(tmp_path / "a.jpg"), 3)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, unprivileged):
    PHOTOGRAPH.save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with unprivileged(tmp_path), pytest.raises(Unreadable, match="a.png' cannot be read: Permission denied"):
        decode(str(tmp_path / "a.png"), 3)


@pytest.mark.parametrize("kind", ["gray", "rgb"])
def test_a_pixel_range_counts_for_cameras_of_12_bits_in_colour_too(tmp_path, kind):
    """Pillow alone would cut 16-bit colours to 8 bits before anybody could scale them."""
    pixels = np.random.default_rng(0).integers(0, 4096, (20, 30, 3) if kind == "rgb" else (20, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb" if kind == "rgb" else "minisblack")
    found = decode(str(tmp_path / "a.tif"), 3 if kind == "rgb" else 1, (0.0, 4095.0))
    assert np.array_equal(found.reshape(pixels.shape), np.rint(pixels * (255 / 4095)))


def test_a_pixel_range_counts_for_a_png_of_16_bit_colours(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">6H", 0, 1000, 2048, 4095, 9000, 65_535) for _ in range(2))
    (tmp_path / "a.png").write_bytes(png(2, 2, bits=16, colour=2, rows=rows))
    assert decode(str(tmp_path / "a.png"), 3, (0.0, 4095.0))[1].tolist() == [[0, 62, 128], [255, 255, 255]]


def test_bands_that_nobody_asked_for_are_refused_not_dropped(tmp_path):
    noise = np.random.default_rng(0)
    for name, shape, extra in (("five", (20, 30, 5), [0, 0]), ("infrared", (20, 30, 4), [0])):
        pixels = noise.integers(0, 256, shape).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="rgb", extrasamples=extra)
        with pytest.raises(Unreadable, match=f"it has {shape[2]} channels, not 3; see --channels"):
            decode(str(tmp_path / f"{name}.tif"), 3)
    assert decode(str(tmp_path / "infrared.tif"), 4).shape == (20, 30, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16])
def test_the_first_page_counts(tmp_path, dtype):
    pages = np.stack([np.full((20, 30), value) for value in (1, 0, 0)]).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", pages * (1 if dtype == np.float16 else np.iinfo(dtype).max), photometric="minisblack"
    )
    assert np.all(decode(str(tmp_path / "a.tif"), 3) == 255) and np.all(decode(str(tmp_path / "a.tif"), 1) == 255)


def test_an_image_without_pixels_is_refused(tmp_path):
    PHOTOGRAPH.convert("L").resize((6, 4)).save(tmp_path / "a.tif")
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    place = raw.index(struct.pack("<HHII", 257, 4, 1, 4)) if struct.pack("<HHII", 257, 4, 1, 4) in raw else None
    place = raw.index(struct.pack("<HHIH", 257, 3, 1, 4)) if place is None else place
    raw[place + 8 : place + 12] = b"\0" * 4
    (tmp_path / "a.tif").write_bytes(bytes(raw))
    with pytest.raises(Unreadable, match="no pixels: 6 x 0"):
        decode(str(tmp_path / "a.tif"), 1)


def part_of(left, top, right, bottom, target):
    return lambda size: Part((float(left), float(top), float(right), float(bottom)), target)


@pytest.mark.parametrize("times", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_photograph_is_upright_and_its_part_where_it_was(tmp_path, times, orientation):
    """Odd sides, which are rounded up, under every orientation: the same part as that of the upright photograph."""
    photograph = Image.fromarray(data.retina()[300:1103, 200:1207])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photograph.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = shown(tmp_path / "a.jpg", 3)
    width, height = upright.width // 2, upright.height // 2
    left, top = upright.width - width - 3, upright.height - height - 5
    target = (int(width / times / 2), int(height / times / 2))
    pixels, box, _ = decode_part(str(tmp_path / "a.jpg"), 3, part_of(left, top, left + width, top + height, target))
    reduced = picture_of(pixels)
    assert reduced.size == (-(-upright.width // times), -(-upright.height // times)) and reduced.mode == "RGB"
    expected = upright.resize(target, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    found = reduced.resize(target, Image.Resampling.BICUBIC, box=box)
    assert apart(found, expected) < 0.5
    if times > 1:
        moved = tuple(place - 0.5 for place in box)
        assert apart(found, expected) < apart(reduced.resize(target, Image.Resampling.BICUBIC, box=moved), expected)


@pytest.mark.parametrize("kind", ["L", "CMYK", "progressive", "MPO"])
def test_other_jpegs_are_reduced_as_well(tmp_path, kind):
    photograph = PHOTOGRAPH.convert(kind) if kind in {"L", "CMYK"} else PHOTOGRAPH
    options = {"progressive": {"progressive": True}, "MPO": {"save_all": True, "append_images": [PHOTOGRAPH]}}
    photograph.save(tmp_path / "a.jpg", "MPO" if kind == "MPO" else "JPEG", quality=95, **options.get(kind, {}))
    for channels in (1, 3):
        pixels, box, _ = decode_part(str(tmp_path / "a.jpg"), channels, part_of(40, 20, 200, 170, (40, 35)))
        assert pixels.shape == (90, 120, channels) and box == (20, 10, 100, 85)
        small = shown(tmp_path / "a.jpg", channels).resize((120, 90), Image.Resampling.BOX)
        assert apart(picture_of(pixels), small) < 4


def test_other_formats_and_parts_without_room_are_read_whole(tmp_path):
    PHOTOGRAPH.save(tmp_path / "a.png")
    PHOTOGRAPH.save(tmp_path / "a.jpg")
    for name, target in (("a.png", (5, 5)), ("a.jpg", (41, 30)), ("a.jpg", (30, 36))):
        pixels, box, _ = decode_part(str(tmp_path / name), 3, part_of(40, 20, 200, 160, target))
        assert picture_of(pixels).size == PHOTOGRAPH.size and box == (40, 20, 200, 160)


def test_half_a_photograph_is_refused_when_reduced(tmp_path):
    PHOTOGRAPH.save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable, match="truncated"):
        decode_part(str(tmp_path / "a.jpg"), 3, part_of(0, 0, 240, 180, (8, 8)))
