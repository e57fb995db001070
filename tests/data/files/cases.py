"""Files of kinds that are easily read wrong, and the pixels that each shows, computed here from what was written."""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
import tifffile
from PIL import Image


@dataclass
class Case:
    """A file, and what it shows as height x width x channels in gray levels; or the words with which it is refused."""

    content: bytes
    right: np.ndarray | str
    channels: int = 3
    pixel_range: tuple[float, float] | None = None

    @property
    def span(self) -> tuple[float, float] | None:
        """The range, in the type of a command line's."""
        return None if self.pixel_range is None else (float(self.pixel_range[0]), float(self.pixel_range[1]))


def waves(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth gray picture of [0, 1], both of which it reaches."""
    small = np.random.default_rng(seed).random((4, 4)) * 255
    picture = Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture) / 255.0
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


def colours(height: int = 24, width: int = 32) -> np.ndarray:
    """Three of them as colours, with a white sky."""
    picture = np.stack([waves(seed, height, width) for seed in (0, 50, 90)], -1)
    picture[: height // 4] = 1
    return picture


def tiff(samples: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def jp2(samples: np.ndarray, **options: object) -> bytes:
    return imagecodecs.jpeg2k_encode(samples, level=0, reversible=True, codecformat="jp2", **options)


def packed_tiff(samples: np.ndarray, bits: int) -> bytes:
    """A gray TIFF whose samples stand bit by bit, one after the other; every row begins with a new byte."""
    height, width = samples.shape
    each = (samples[..., None].astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(each.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1),
            (278, 4, height), (279, 4, len(data))]  # fmt: skip
    rows = b"".join(
        struct.pack("<HHI", tag, kind, 1) + (struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value))
        for tag, kind, value in tags
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + b"\0\0\0\0" + data


def fits(stored: np.ndarray, *cards: tuple[str, object]) -> bytes:
    """A FITS file of big-endian samples, whose first row is the lowest one."""
    kinds = {"u1": 8, "i2": 16, "i4": 32, "f4": -32, "f8": -64}
    lines = [("SIMPLE", "T"), ("BITPIX", kinds[stored.dtype.str[1:]]), ("NAXIS", stored.ndim)]
    lines += [(f"NAXIS{axis + 1}", side) for axis, side in enumerate(stored.shape[::-1])]
    head = "".join(f"{name:<8}= {value!s:>20} / a comment".ljust(80) for name, value in [*lines, *cards])
    data = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    whole = -(-len(head + "END") // 2880) * 2880
    return (head + "END").ljust(whole).encode() + data + bytes(-len(data) % 2880)


def pam(samples: np.ndarray, kind: str) -> bytes:
    height, width, bands = samples.shape
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {bands}\nMAXVAL 65535\nTUPLTYPE {kind}\nENDHDR\n"
    return head.encode() + samples.astype(">u2").tobytes()


def raw_photograph() -> bytes:
    """A DNG: a small picture, and the mosaic of the sensor behind it."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        small = (colours() * 255).astype(np.uint8)
        writer.write(small, photometric="rgb", subfiletype=1, subifds=1)
        writer.write((waves(0, 192, 256) * 4000).astype(np.uint16), photometric=32803, subfiletype=0)
    return file.getvalue()


def over_white(light: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return light * opacity + 1 - opacity


GRAY, RGB, OPACITY = waves(0), colours(), waves(7)[..., None] * 0.9 + 0.1
DEEP = np.rint(RGB * 65535).astype(np.uint16)
LOW = np.rint(GRAY * 4095).astype(np.uint16)
TURNED = [(274, 3, 1, 6, True)]
RANGE = "give --pixel-range LOW HIGH"


def float_map() -> np.ndarray:
    """Floats in [0, 1], some of which are no numbers."""
    pixels = GRAY.astype(np.float32)
    pixels[:6] = np.nan
    return pixels


def files() -> dict[str, Callable[[], Case]]:
    """All cases by name, each made when it is asked for."""
    with_alpha = np.concatenate([DEEP, np.rint(OPACITY * 65535).astype(np.uint16)], -1)
    multiplied = np.rint(np.concatenate([RGB * OPACITY, OPACITY], -1) * 65535).astype(np.uint16)
    holed = np.where(np.arange(24)[:, None] < 6, -9999, GRAY * 100).astype(np.float32)
    ink = (np.concatenate([1 - RGB, OPACITY / 4], -1) * 65535).round().astype(np.uint16)
    planes = np.stack([np.full((24, 32), value) for value in (0.8, 0.4, 0.2)])
    bands = (np.concatenate([RGB, OPACITY], -1) * 255).round().astype(np.uint8)
    ome = {"ome": True, "photometric": "minisblack", "metadata": {"axes": "CYX"}}
    return {
        "JPEG 2000, 16 bits": lambda: Case(jp2(DEEP), RGB * 255),
        "JPEG 2000, 16 bits, opacity": lambda: Case(jp2(with_alpha), over_white(RGB, OPACITY) * 255),
        "JPEG 2000, 15 bits": lambda: Case(jp2((GRAY * 32767).astype(np.uint16), bitspersample=15), GRAY * 255, 1),
        "JPEG 2000, 15 bits, a range": lambda: Case(
            jp2((GRAY * 10000).astype(np.uint16), bitspersample=15), GRAY * 255, 1, (0, 10000)
        ),
        "JPEG 2000, colours, a range": lambda: Case(jp2(DEEP // 16), RGB * 255, 3, (0, 4095)),
        "JPEG 2000, signed": lambda: Case(jp2((GRAY * 200 - 100).astype(np.int16), bitspersample=12), RANGE, 1),
        "JPEG 2000, signed, a range": lambda: Case(
            jp2((GRAY * 200 - 100).round().astype(np.int16), bitspersample=12), GRAY * 255, 1, (-100, 100)
        ),
        "TIFF, 12 bits packed": lambda: Case(packed_tiff(LOW, 12), GRAY * 255, 1),
        "TIFF, 4 bits": lambda: Case(packed_tiff(np.rint(GRAY * 15), 4), np.rint(GRAY * 15) * 17, 1),
        "TIFF, 10 bits packed, a range": lambda: Case(packed_tiff(LOW // 8, 10), GRAY * 255, 1, (0, 511)),
        "TIFF, white is zero, 16 bits": lambda: Case(
            tiff(65535 - DEEP[..., 1], photometric="miniswhite"), RGB[..., 1] * 255, 1
        ),
        "TIFF, white is zero, 8 bits": lambda: Case(
            tiff((255 - RGB[..., 1] * 255).round().astype(np.uint8), photometric="miniswhite"), RGB[..., 1] * 255, 1
        ),
        "TIFF, white is zero, a range": lambda: Case(
            tiff(LOW, photometric="miniswhite"), 255 - GRAY * 255, 1, (0, 4095)
        ),
        "TIFF, signed": lambda: Case(tiff((GRAY * 255 - 128).astype(np.int8)), RANGE),
        "TIFF, signed, a range": lambda: Case(
            tiff((GRAY * 255 - 128).round().astype(np.int8)), GRAY * 255, 1, (-128, 127)
        ),
        "TIFF, large numbers, a range": lambda: Case(
            tiff((GRAY * 100).round().astype(np.int32) + 2_000_000_000), GRAY * 255, 1, (2e9, 2e9 + 100)
        ),
        "TIFF, turned, 16 bits": lambda: Case(tiff(DEEP, photometric="rgb", extratags=TURNED), np.rot90(RGB, -1) * 255),
        "TIFF, turned, 8 bits": lambda: Case(
            tiff((RGB * 255).round().astype(np.uint8), photometric="rgb", extratags=TURNED), np.rot90(RGB, -1) * 255
        ),
        "TIFF, multiplied by opacity": lambda: Case(
            tiff(multiplied, photometric="rgb", extrasamples=["assocalpha"]), over_white(RGB, OPACITY) * 255
        ),
        "TIFF, multiplied by opacity, 4 channels": lambda: Case(
            tiff(multiplied, photometric="rgb", extrasamples=["assocalpha"]),
            np.concatenate([RGB, OPACITY], -1) * 255,
            4,
        ),
        "TIFF, gray multiplied by opacity": lambda: Case(
            tiff(
                (np.concatenate([GRAY[..., None] * OPACITY, OPACITY], -1) * 255).round().astype(np.uint8),
                photometric="minisblack",
                planarconfig="contig",
                extrasamples=["assocalpha"],
            ),
            over_white(GRAY[..., None], OPACITY) * 255,
            1,
        ),
        "TIFF, opacity, 16 bits": lambda: Case(
            tiff(with_alpha, photometric="rgb", extrasamples=["unassalpha"]), over_white(RGB, OPACITY) * 255
        ),
        "TIFF, CIELab of 16 bits": lambda: Case(tiff(DEEP, photometric="cielab"), "CIELAB in 16 bits.*save it as RGB"),
        "TIFF, CMYK of 16 bits": lambda: Case(tiff(ink, photometric="separated"), RGB * (1 - OPACITY / 4) * 255),
        **{
            f"TIFF, 16 bits, {how}": lambda how=how: Case(tiff(DEEP, photometric="rgb", compression=how), RGB * 255)
            for how in ("zstd", "lzw", "packbits", "lzma", "deflate", "jpeg2000", "png", "jpegxl")
        },
        "TIFF, WebP": lambda: Case(
            tiff(
                (RGB * 255).round().astype(np.uint8),
                photometric="rgb",
                compression="webp",
                compressionargs={"level": 101},
            ),
            RGB * 255,
        ),
        "TIFF, infrared called opacity": lambda: Case(
            tiff(bands, photometric="rgb", extrasamples=["unassalpha"]), bands.astype(float), 4
        ),
        **{
            f"OME-TIFF, channels of {kind}": lambda kind=kind: Case(
                tiff(planes.astype(kind), **ome), np.moveaxis(planes, 0, -1) * 255
            )
            for kind in ("float32", "float64")
        },
        "OME-TIFF, channels of uint8": lambda: Case(
            tiff((planes * 255).astype(np.uint8), **ome), np.moveaxis(planes, 0, -1) * 255
        ),
        "OME-TIFF, channels of uint16": lambda: Case(
            tiff((planes * 65535).astype(np.uint16), **ome), np.moveaxis(planes, 0, -1) * 255
        ),
        "TIFF, two channels as colour": lambda: Case(
            tiff((planes[:2] * 255).astype(np.uint8), **ome), "it has 2 channels, not 3; see --channels"
        ),
        "TIFF, floats that are no numbers": lambda: Case(tiff(float_map()), np.nan_to_num(float_map()) * 255, 1),
        "GeoTIFF, no data": lambda: Case(
            tiff(holed, extratags=[(42113, 2, 6, "-9999", True)]), np.maximum(holed, 0) * 2.55, 1, (0, 100)
        ),
        "raw photograph": lambda: Case(raw_photograph(), "raw photograph.*first page.*reduced image.*develop it"),
        "raw photograph, its sensor alone": lambda: Case(tiff(LOW, photometric=32803), "raw photograph.*develop it"),
        "FITS, unsigned": lambda: Case(
            fits(((GRAY * 65535).round() - 32768).astype(np.int16), ("BZERO", 32768), ("BSCALE", 1)),
            GRAY[::-1] * 255,
            1,
        ),
        "FITS, physical values": lambda: Case(
            fits((GRAY * 1000).round().astype(np.int16), ("BZERO", -5.0), ("BSCALE", "1.0E-2")),
            GRAY[::-1] * 255,
            1,
            (-5, 5),
        ),
        "FITS, physical values of unknown range": lambda: Case(
            fits((GRAY * 1000).round().astype(np.int16), ("BSCALE", 0.01)),
            f"physical values reach from 0 to 10.*{RANGE}",
        ),
        "FITS, signed": lambda: Case(fits((GRAY * 1000).astype(np.int16)), f"int16 pixels reach from 0 to .*{RANGE}"),
        "FITS, floats": lambda: Case(fits(GRAY.astype(np.float32)), GRAY[::-1] * 255, 1),
        "PGM, 12 bits": lambda: Case(b"P5\n32 24\n4095\n" + LOW.astype(">u2").tobytes(), GRAY * 255, 1),
        "PGM, 12 bits, a range": lambda: Case(
            b"P5\n32 24\n4095\n" + LOW.astype(">u2").tobytes(), np.minimum(GRAY * 4095 / 2000, 1) * 255, 1, (0, 2000)
        ),
        "PPM, 16 bits, a range": lambda: Case(
            b"P6\n32 24\n65535\n" + (DEEP // 16).astype(">u2").tobytes(), RGB * 255, 3, (0, 4095)
        ),
        "PGM up to 100": lambda: Case(
            b"P5 32 24 100\n" + np.rint(GRAY * 100).astype(np.uint8).tobytes(), np.rint(GRAY * 100) * 2.55, 1
        ),
        "PBM": lambda: Case(b"P4\n32 24\n" + np.packbits(GRAY < 0.5, axis=1).tobytes(), (GRAY >= 0.5) * 255.0, 1),
        "PFM": lambda: Case(b"Pf\n32 24\n-1.0\n" + GRAY[::-1].astype("<f4").tobytes(), GRAY * 255, 1),
        "PAM, opacity": lambda: Case(pam(with_alpha, "RGB_ALPHA"), over_white(RGB, OPACITY) * 255),
        "JPEG without loss": lambda: Case(
            imagecodecs.jpeg_encode((RGB * 255).round().astype(np.uint8), lossless=True), RGB * 255
        ),
        "JPEG without loss, 12 bits": lambda: Case(
            imagecodecs.jpeg_encode(DEEP // 16, lossless=True, bitspersample=12), RGB * 255
        ),
        "JPEG without loss, 16 bits, a range": lambda: Case(
            imagecodecs.jpeg_encode(DEEP // 16, lossless=True, bitspersample=16), RGB * 255, 3, (0, 4095)
        ),
        "PNG, 16 bits": lambda: Case(imagecodecs.png_encode(DEEP), RGB * 255),
        "PNG, 16 bits, opacity": lambda: Case(imagecodecs.png_encode(with_alpha), over_white(RGB, OPACITY) * 255),
        "PNG, 16 bits, 4 channels": lambda: Case(imagecodecs.png_encode(with_alpha), with_alpha / 257, 4),
        "PNG, 16 bits, a range": lambda: Case(imagecodecs.png_encode(DEEP // 16), RGB * 255, 3, (0, 4095)),
        "JPEG XL, 8 bits": lambda: Case(
            imagecodecs.jpegxl_encode((RGB * 255).round().astype(np.uint8), lossless=True), RGB * 255
        ),
        "JPEG XL, 12 bits": lambda: Case(
            imagecodecs.jpegxl_encode(DEEP // 16, lossless=True, bitspersample=12), RGB * 255
        ),
        "JPEG XL, 16 bits, opacity": lambda: Case(
            imagecodecs.jpegxl_encode(with_alpha, lossless=True), over_white(RGB, OPACITY) * 255
        ),
        "AVIF, 12 bits": lambda: Case(imagecodecs.avif_encode(DEEP // 16, level=100, bitspersample=12), RGB * 255),
        "AVIF, 10 bits, a range": lambda: Case(
            imagecodecs.avif_encode(DEEP // 128, level=100, bitspersample=10), RGB * 255, 3, (0, 511)
        ),
    }


CASES = files()
