"""Which reader a file has: its first bytes decide, not its name, and never which reader raises no error."""

from collections.abc import Callable

from pcae.data.files.avif import read_avif
from pcae.data.files.bounds import File
from pcae.data.files.dicom import MAGIC, PREAMBLE, read_dicom
from pcae.data.files.fits import read_fits
from pcae.data.files.heif import read_heif
from pcae.data.files.jpeg import read_jpeg
from pcae.data.files.jpeg2000 import read_jpeg2000
from pcae.data.files.jpegxl import read_jpegxl
from pcae.data.files.netpbm import read_netpbm
from pcae.data.files.numpy_arrays import read_npy, read_npz
from pcae.data.files.pictures import read_picture
from pcae.data.files.png import read_png
from pcae.data.files.stored import Stored
from pcae.data.files.tiff import read_tiff

Reader = Callable[[File], Stored]
"""Takes a file that was just opened, which stays open until the samples are loaded."""
READERS: dict[bytes, Reader] = {
    b"\xff\xd8\xff": read_jpeg,
    b"\x89PNG\r\n\x1a\n": read_png,
    b"II*\0": read_tiff,
    b"MM\0*": read_tiff,
    b"II+\0": read_tiff,
    b"MM\0+": read_tiff,
    b"\xff\x4f\xff\x51": read_jpeg2000,
    b"\0\0\0\x0cjP  \r\n\x87\n": read_jpeg2000,
    b"\xff\x0a": read_jpegxl,
    b"\0\0\0\x0cJXL \r\n\x87\n": read_jpegxl,
    b"SIMPLE  =": read_fits,
    b"\x93NUMPY": read_npy,
    b"PK\x03\x04": read_npz,
    **{b"P%c%c" % (kind, space): read_netpbm for kind in b"1234567fF" for space in b" \t\r\n#"},
}
"""Readers by how files begin."""
BRANDS: dict[bytes, Reader] = {
    b"avif": read_avif,
    b"avis": read_avif,
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), read_heif),
}
"""Readers by the brands of a file of boxes, which stand behind `ftyp`: its own, and those that it keeps to."""
START = 256


def read(file: File) -> Stored:
    """What an opened file says of its image. Raises errors of every kind for one that is none, or not read."""
    start = file.read(START)
    file.seek(0)
    return reader_of(start)(file)


def reader_of(start: bytes) -> Reader:
    """The reader of a file that begins so."""
    if start[4:8] == b"ftyp":
        said = start[8 : int.from_bytes(start[:4])]
        brands = [said[place : place + 4] for place in range(0, len(said), 4)]
        return next((BRANDS[brand] for brand in brands if brand in BRANDS), read_picture)
    if start[PREAMBLE:].startswith(MAGIC):
        return read_dicom
    return next((reader for begin, reader in READERS.items() if start.startswith(begin)), read_picture)
