"""Random images of every depth, sign, photometric, layout, opacity, compression, turn and byte order, as written."""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pcae.data.files.decode import decode
from tests.data.files.cases import packed_tiff

Random = np.random.Generator
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.rot90(np.fliplr(pixels)),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.fliplr(pixels), -1),
    8: lambda pixels: np.rot90(pixels),
}
"""What makes a picture upright, by its orientation, as TIFF 6.0 and EXIF have them."""


@dataclass
class Written:
    """A file, the samples in it as height x width x bands, and what the file says of them.

    span: the numbers that are black and white. ranged: only --pixel-range can tell. alpha: of the last band. by: the
    program that wrote it.
    """

    content: bytes
    samples: np.ndarray
    span: tuple[float, float]
    by: str
    ranged: bool = False
    light: str = "light"
    alpha: str = "none"
    turn: int = 1

    def right(self) -> np.ndarray:
        """What is seen, in gray levels: by the formulas, in double precision."""
        samples = TURNS[self.turn](self.samples.astype(np.float64))
        low, high = self.span
        count = samples.shape[2] - (self.alpha != "none")
        colours, opacity = samples[..., :count], samples[..., count:] / high
        if self.alpha == "premultiplied":
            colours = np.where(opacity > 0, colours / np.where(opacity > 0, opacity, 1), 0)
        seen = ((colours - low) / (high - low)).clip(0, 1)
        if self.light == "white is zero":
            seen = 1 - seen
        if self.light == "ink":
            seen = (1 - seen[..., :3]) * (1 - seen[..., 3:])
        if self.alpha != "none":
            seen = seen * opacity + 1 - opacity
        return seen * 255


def numbers(random: Random, dtype: np.dtype, bands: int, most: float | None = None) -> np.ndarray:
    """Random samples of a random size, from the least to the largest of their type, or to `most`."""
    shape = (*random.integers(3, 24, 2), bands)
    if dtype.kind == "f":
        return random.random(shape).astype(dtype)
    least = 0 if most is not None or dtype.kind == "u" else int(np.iinfo(dtype).min)
    return random.integers(least, int(np.iinfo(dtype).max if most is None else most), shape, dtype=dtype, endpoint=True)


def opacity_of(random: Random, bands: int) -> str:
    """Whether the last of so many bands is opacity."""
    return str(random.choice(["straight", "premultiplied"])) if bands in {2, 4} else "none"


def multiplied(samples: np.ndarray, full: float) -> np.ndarray:
    """Samples whose colours are multiplied by their opacity."""
    product = samples[..., :-1].astype(np.float64) * samples[..., -1:] / full
    product = product.round() if samples.dtype.kind == "u" else product
    return np.concatenate([product.astype(samples.dtype), samples[..., -1:]], -1)


def by_tifffile(random: Random) -> Written:
    """TIFF of whole bytes."""
    dtype = np.dtype(random.choice(["u1", "u2", "i1", "i2", "u4", "i4", "f2", "f4", "f8"]))
    known = dtype.str[1:] in {"u1", "u2"} or dtype.kind == "f"
    bands = int(random.integers(1, 5)) if known else int(random.choice([1, 3]))
    full = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    alpha = opacity_of(random, bands)
    samples = numbers(random, dtype, bands)
    if alpha == "premultiplied":  # what is nearly clear has no colour to compare
        samples[..., -1] = np.maximum(samples[..., -1], full / 4)
        samples = multiplied(samples, full)
    light = "light"
    if bands == 1 and random.random() < 0.3:
        light = "white is zero"
    if bands == 4 and known and dtype.kind == "u" and random.random() < 0.3:
        light, alpha = "ink", "none"
    photometric = {"light": "minisblack" if bands < 3 else "rgb", "white is zero": "miniswhite", "ink": "separated"}[
        light
    ]
    turn = int(random.integers(1, 9))
    layout = str(random.choice(["contig", "separate"])) if bands > 1 else None
    ways = [None, "lzw", "deflate", "zstd", "packbits", "lzma", "lerc"]
    how = random.choice(ways[:6] if dtype == np.float16 else ways)
    predictor = bool(random.random() < 0.4 and how in {"lzw", "deflate", "zstd"})
    options: dict = {
        "photometric": photometric,
        "planarconfig": layout,
        "compression": how,
        "predictor": predictor or None,
        "byteorder": "<" if how == "lerc" else str(random.choice(["<", ">"])),  # LERC has an order of its own
        "bigtiff": bool(random.random() < 0.3),
        "extratags": [(274, 3, 1, turn, True)],
        "tile": (16, 16) if random.random() < 0.3 else None,
        "rowsperstrip": None,
        "metadata": None,
    }
    if options["tile"] is None and random.random() < 0.5:
        options["rowsperstrip"] = int(random.integers(1, 8))
    if alpha != "none":
        options["extrasamples"] = ["assocalpha" if alpha == "premultiplied" else "unassalpha"]
    stored = np.moveaxis(samples, -1, 0) if layout == "separate" else samples if bands > 1 else samples[..., 0]
    file = io.BytesIO()
    tifffile.imwrite(file, np.ascontiguousarray(stored), **options)
    ranged = not known
    span = (float(np.iinfo(dtype).min), full) if ranged else (0.0, full)
    if known and dtype != np.uint8 and random.random() < 0.3 and alpha == "none":
        ranged, span = True, (full * 0.1, full * 0.6)
    return Written(file.getvalue(), samples, span, "tifffile", ranged, light, alpha, turn)


def packed_by_hand(random: Random) -> Written:
    """TIFF whose samples do not fill bytes."""
    bits = int(random.choice([2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15]))
    samples = numbers(random, np.dtype(np.uint16), 1, 2**bits - 1)
    return Written(packed_tiff(samples[..., 0], bits), samples, (0, 2**bits - 1), "hand")


def tiff_by_pillow(random: Random) -> Written:
    """TIFF by libtiff."""
    how = random.choice(["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"])
    mode = "1" if how == "group4" else str(random.choice(["L", "RGB", "RGBA", "CMYK", "1", "P", "I;16", "LAB"]))
    content, samples, light = pillow_picture(random, mode, "TIFF", compression=how)
    if mode == "LAB":
        return Written(content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), (0, 255), "Pillow")
    alpha = "straight" if mode == "RGBA" else "none"
    return Written(content, samples, (0, 65535 if mode == "I;16" else 255), "Pillow", light=light, alpha=alpha)


def pillow_picture(random: Random, mode: str, format: str, **options: object) -> tuple[bytes, np.ndarray, str]:
    """A file that Pillow wrote, its samples, and whether they are ink."""
    bands = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "LAB": 3}.get(mode, 1)
    samples = numbers(random, np.dtype(np.uint16 if mode == "I;16" else np.uint8), bands)
    flat = samples[..., 0] if bands == 1 else samples
    if mode == "1":
        samples = (samples > 127) * np.uint8(255)
        picture = Image.fromarray(samples[..., 0]).convert("1")
    elif mode == "P":
        palette = random.integers(0, 256, (256, 3), dtype=np.uint8)
        picture = Image.fromarray(flat, "L").convert("L")
        picture = Image.frombytes("P", picture.size, flat.tobytes())
        picture.putpalette(palette.tobytes())
        samples = palette[flat]
    elif mode in {"LAB", "CMYK", "LA"}:
        picture = Image.frombytes(mode, (flat.shape[1], flat.shape[0]), flat.tobytes())
    else:
        picture = Image.fromarray(flat)
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue(), samples, "ink" if mode == "CMYK" else "light"


def png_by_hand(random: Random) -> Written:
    """PNG of 1 to 16 bits, gray with or without opacity or colours, turned by EXIF."""
    colour = int(random.choice([0, 2, 4, 6]))
    bits = int(random.choice([1, 2, 4, 8, 16])) if colour == 0 else int(random.choice([8, 16]))
    bands = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    samples = numbers(random, np.dtype(np.uint16), bands, 2**bits - 1)
    height, width = samples.shape[:2]
    each = (samples.reshape(height, -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(each.reshape(height, -1).astype(np.uint8), axis=1)
    turn = int(random.integers(1, 9))
    exif = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 274, 3, 1, turn, 0, 0)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
        (b"eXIf", exif),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"IEND", b""),
    ]
    if random.random() < 0.5:
        chunks[1], chunks[2] = chunks[2], chunks[1]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    ranged = bits == 16 and bands in {1, 3} and random.random() < 0.3
    span = (1000, 30_000) if ranged else (0, 2**bits - 1)
    return Written(content, samples, span, "hand", ranged, alpha="straight" if bands in {2, 4} else "none", turn=turn)


def png_by_program(random: Random) -> Written:
    """PNG by libpng or Pillow."""
    if random.random() < 0.5:
        mode = str(random.choice(["L", "LA", "RGB", "RGBA", "1", "P", "I;16"]))
        content, samples, _ = pillow_picture(random, mode, "PNG")
        alpha = "straight" if mode in {"LA", "RGBA"} else "none"
        return Written(content, samples, (0, 65535 if mode == "I;16" else 255), "Pillow", alpha=alpha)
    dtype = np.dtype(random.choice(["u1", "u2"]))
    samples = numbers(random, dtype, int(random.integers(1, 5)))
    alpha = "straight" if samples.shape[2] in {2, 4} else "none"
    return Written(imagecodecs.png_encode(samples), samples, (0, np.iinfo(dtype).max), "imagecodecs", alpha=alpha)


def jpeg2000(random: Random) -> Written:
    """JPEG 2000 of 1 to 16 bits with and without sign, as a file or a codestream, and by Pillow."""
    if random.random() < 0.3:
        mode = str(random.choice(["L", "LA", "RGB", "RGBA", "I;16"]))
        content, samples, _ = pillow_picture(random, mode, "JPEG2000", no_jp2=bool(random.random() < 0.3))
        alpha = "straight" if mode in {"LA", "RGBA"} else "none"
        return Written(content, samples, (0, 65535 if mode == "I;16" else 255), "Pillow", alpha=alpha)
    bits, signed = int(random.integers(1, 17)), bool(random.random() < 0.3)
    bands = int(random.integers(1, 5)) if not signed else int(random.choice([1, 3]))
    letter = "i" if signed else "u"
    shape = (*random.integers(3, 24, 2), bands)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if signed and bits == 1:
        bits, low, high = 8, -128, 127
    samples = random.integers(low, high, shape, endpoint=True).astype(f"{letter}{1 if bits <= 8 else 2}")
    kind = str(random.choice(["jp2", "j2k"]))
    content = imagecodecs.jpeg2k_encode(samples, level=0, reversible=True, codecformat=kind, bitspersample=bits)
    ranged = signed or (bits > 8 and bands in {1, 3} and random.random() < 0.3)
    span = (low, high) if signed or not ranged else (high * 0.2, high * 0.7)
    alpha = "straight" if bands in {2, 4} else "none"
    return Written(content, samples, span, "imagecodecs", ranged, alpha=alpha)


def netpbm_by_hand(random: Random) -> Written:
    """PBM, PGM, PPM, PAM and PFM, in bytes or words, up to any largest value."""
    kind = int(random.integers(1, 8))
    if kind in {1, 4}:
        ink = numbers(random, np.dtype(np.uint8), 1, 1)
        height, width = ink.shape[:2]
        words = " ".join(map(str, ink.ravel())).encode() if kind == 1 else np.packbits(ink[..., 0], axis=1).tobytes()
        return Written(
            b"P%d\n# ink\n%d %d\n" % (kind, width, height) + words, ink, (0, 1), "hand", light="white is zero"
        )
    most = int(random.choice([7, 100, 255, 256, 1000, 4095, 65535]))
    bands = {2: 1, 3: 3, 5: 1, 6: 3}.get(kind, int(random.integers(1, 5)))
    samples = numbers(random, np.dtype(np.uint16), bands, most)
    height, width = samples.shape[:2]
    wide = samples.astype(">u2" if most > 255 else "u1")
    words = " ".join(map(str, samples.ravel())).encode() if kind in {2, 3} else wide.tobytes()
    head = b"P%d\n%d %d\n%d\n" % (kind, width, height, most)
    if kind == 7:
        name = [b"GRAYSCALE", b"GRAYSCALE_ALPHA", b"RGB", b"RGB_ALPHA"][bands - 1]
        head = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\nTUPLTYPE %s\nENDHDR\n" % (
            width,
            height,
            bands,
            most,
            name,
        )
    ranged = most > 255 and bands in {1, 3} and random.random() < 0.3
    span = (most * 0.1, most * 0.9) if ranged else (0, most)
    return Written(head + words, samples, span, "hand", ranged, alpha="straight" if bands in {2, 4} else "none")


def jpeg_xl(random: Random) -> Written:
    """JPEG XL without loss."""
    bits = int(random.choice([8, 10, 12, 14, 16, 32]))
    dtype = np.dtype("f4" if bits == 32 else "u1" if bits == 8 else "u2")
    bands = int(random.integers(1, 5))
    full = 1 if bits == 32 else 2**bits - 1
    samples = numbers(random, dtype, bands, None if bits == 32 else full)
    options = {} if bits == 32 else {"bitspersample": bits}
    content = imagecodecs.jpegxl_encode(samples, lossless=True, **options)
    ranged = bits > 8 and bands in {1, 3} and random.random() < 0.3
    span = (full * 0.1, full * 0.5) if ranged else (0, full)
    return Written(content, samples, span, "imagecodecs", ranged, alpha="straight" if bands in {2, 4} else "none")


WRITERS = (
    by_tifffile,
    packed_by_hand,
    tiff_by_pillow,
    png_by_hand,
    png_by_program,
    jpeg2000,
    netpbm_by_hand,
    by_tifffile,
    jpeg_xl,
)
"""In turn; TIFF, which has most to vary, twice."""


@pytest.mark.slow
def test_random_images_of_every_kind_come_out_as_they_were_written():
    writers: Counter[str] = Counter()
    for seed in range(2_000):
        random = np.random.default_rng(seed)
        make = WRITERS[seed % len(WRITERS)]
        written = make(random)
        writers[written.by] += 1
        right = written.right()
        channels = 3 if right.shape[2] == 3 or random.random() < 0.3 else 1
        span = (float(written.span[0]), float(written.span[1])) if written.ranged else None
        found = decode(written.content, channels, span, f"{make.__name__} {seed}")
        right = np.broadcast_to(right, found.shape) if right.shape[2] == 1 else right
        assert found.shape == right.shape, (make.__name__, seed)
        assert np.abs(found - right).max() <= 1, (make.__name__, seed)
    assert writers["hand"] + writers["Pillow"] >= 2_000 / 3
