"""Files that few programs write, and the pixels that each shows, computed here from what was written."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests.data.files.cases import GRAY, OPACITY, RGB, TURNED, Case, over_white, tiff
from tests.data.files.formats import ybr

EIGHT, OPACITY_8 = np.rint(RGB * 255).astype(np.uint8), np.rint(OPACITY * 255).astype(np.uint8)
MOST = 2**32 - 1
WEST = np.broadcast_to(np.arange(32)[None, :, None] < 12, (24, 32, 1))


def pillow(pixels: np.ndarray, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **options)
    return file.getvalue()


def masked_tiff() -> bytes:
    """A picture that lies on its side, and the page behind it that says where it has pixels."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(EIGHT, photometric="rgb", extratags=TURNED, metadata=None)
        writer.write(WEST[..., 0] > 0, photometric=4, subfiletype=4, metadata=None)
    return file.getvalue()


def tiffs() -> dict[str, Callable[[], Case]]:
    """TIFFs by name."""
    deep = np.rint(np.concatenate([RGB, OPACITY], -1) * MOST).astype(np.uint32)
    ink = np.concatenate([255 - EIGHT, OPACITY_8 // 4], -1)
    indices = (EIGHT[..., 1] // 64).astype(np.uint8)
    palette = np.zeros((3, 256), np.uint16)
    palette[:, :4] = [[0, 9, 200, 255], [0, 90, 100, 255], [0, 30, 50, 255]]
    return {
        "TIFF, opacity, 32 bits, a range": lambda: Case(
            tiff(deep, photometric="rgb", extrasamples=["unassalpha"]), over_white(RGB, OPACITY) * 255, 3, (0, MOST)
        ),
        "TIFF, complex numbers, a range": lambda: Case(
            tiff((GRAY + 1j).astype(np.complex64)), "complex.*save their amplitude", 1, (0, 1)
        ),
        "TIFF, lightness and differences in tiles": lambda: Case(
            tiff(ybr(EIGHT), photometric="ycbcr", subsampling=(1, 1), compression="deflate", tile=(16, 16)), RGB * 255
        ),
        "TIFF, lightness and differences by plane": lambda: Case(
            tiff(np.moveaxis(ybr(EIGHT), -1, 0), photometric="ycbcr", subsampling=(1, 1), planarconfig="separate"),
            "YCBCR in 8 bits.*save it as RGB",
        ),
        "TIFF, lightness and differences, 16 bits": lambda: Case(
            tiff(ybr(EIGHT).astype(np.uint16) * 257, photometric="ycbcr", subsampling=(1, 1)),
            "YCBCR in 16 bits.*save it as RGB",
        ),
        **{
            f"TIFF, JPEG 2000 of a microscope, {space}": lambda space=space: Case(
                tiff(ybr(EIGHT), photometric=space, compression=33003), "YCBCR in 8 bits.*save it as RGB"
            )
            for space in ("rgb", "ycbcr")
        },
        "TIFF, its first page at the end": lambda: Case(pillow(EIGHT, "TIFF", compression="tiff_lzw"), RGB * 255),
        "GeoTIFF, a mask, turned": lambda: Case(masked_tiff(), np.rot90(EIGHT * (WEST > 0), -1).astype(float)),
        "GeoTIFF, a palette's no data": lambda: Case(
            tiff(indices, photometric="palette", colormap=palette * 257, extratags=[(42113, 2, 2, "3", True)]),
            np.where(indices[..., None] == 3, 0, palette.T[indices]),
        ),
        "TIFF, CMYK, 4 channels": lambda: Case(tiff(ink, photometric="separated"), ink.astype(float), 4),
    }


def png(levels: np.ndarray, bits: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A gray PNG of few bits, and what stands before its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = levels.shape
    each = (levels[..., None].astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(each.reshape(height, -1).astype(np.uint8), axis=1)
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    pixels = (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (header, *chunks, pixels, (b"IEND", b"")))


def pngs() -> dict[str, Callable[[], Case]]:
    """PNGs of gray in few bits, one level of which is transparent, by name."""
    return {f"PNG, {bits} bits, one transparent": partial(holed_png, bits) for bits in (2, 4)}


def holed_png(bits: int) -> Case:
    most, clear = 2**bits - 1, 2 ** (bits - 1)
    levels = np.rint(GRAY * most)
    content = png(levels, bits, (b"tRNS", struct.pack(">H", clear)))
    return Case(content, np.where(levels == clear, 255, levels * 255 / most), 1)


def avifs() -> dict[str, Callable[[], Case]]:
    """AVIFs of 10 bits as animations say, by name; a real one of these ends the process in imagecodecs."""
    deep = imagecodecs.avif_encode(np.rint(RGB * 1023).astype(np.uint16), level=100, bitspersample=10)
    moving = deep + struct.pack(">I4s", 16, b"moov") + bytes(8)
    return {
        "AVIF, 10 bits, animated, a range": lambda: Case(moving, "read as 8 bits.* save its picture as", 3, (0, 511)),
    }


RARE = tiffs() | pngs() | avifs()
ROUNDED = {"TIFF, lightness and differences in tiles": 3}
"""Gray levels that what is stored otherwise may be away."""
