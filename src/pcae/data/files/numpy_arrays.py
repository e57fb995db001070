"""Arrays of NumPy in .npy and .npz files: an image of height x width, or with bands behind them; never pickled ones."""

import zipfile
from functools import partial
from io import BufferedIOBase
from typing import cast

import numpy as np
from numpy.lib import format as npy

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import CUT
from pcae.data.files.stored import Stored, as_bands, kind_of

FEW = 4
KINDS = "buif"
"""Truth values, integers and floats."""


def read_npy(file: File) -> Stored:
    """The image in a .npy file."""
    return of_array(file, "NumPy")


def read_npz(file: File) -> Stored:
    """The only array in an .npz file. Raises ValueError where there are several, or none."""
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    if len(names) != 1:
        few = ", ".join(repr(name.removesuffix(".npy")) for name in names[:3]) + ", ..." * (len(names) > 3)
        raise ValueError(f"it holds {len(names)} arrays ({few}), not one image; save each array as a .npy file")
    return of_array(cast(BufferedIOBase, archive.open(names[0])), "NumPy, zipped")


def of_array(file: BufferedIOBase, name: str) -> Stored:
    """What the header of an array says, which is looked at before anything is read."""
    shape, columns_first, dtype = header_of(file)
    if dtype.kind not in KINDS:
        raise ValueError(f"its values are {dtype}, which are no pixels; save integers or floats")
    if len(shape) not in {2, 3}:
        raise ValueError(f"it has the shape {shape}; height, width and bands are wanted: save one array an image")
    if bands_first(shape):
        raise ValueError(
            f"it has the shape {shape}, whose bands seem to come first; save height x width x bands "
            "(numpy.moveaxis(array, 0, -1)), without bands if it has one"
        )
    height, width, bands = (*shape, 1)[:3]
    check_pixels(width, height, bands, dtype.itemsize)
    return Stored(
        format=name,
        kind=kind_of(dtype, bands),
        size=(width, height),
        load=partial(load, file, shape, columns_first, dtype),
        photometric="rgb" if bands == 3 else "gray",
    )


def bands_first(shape: tuple[int, ...]) -> bool:
    """Whether bands x height x width is meant: few rows, or far fewer than there are columns and bands alike."""
    if len(shape) == 2:
        return False
    rows, columns, bands = shape
    return (columns == bands and 2 * rows < bands) or rows <= FEW < min(columns, bands)


def header_of(file: BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type. Raises ValueError for what is no array of plain numbers."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"it is a .npy file of version {version}, which is for records; save integers or floats")
    return readers[version](file)


def load(file: BufferedIOBase, shape: tuple[int, ...], columns_first: bool, dtype: np.dtype) -> np.ndarray:
    """All values. Raises ValueError for a file that is cut off."""
    size = int(np.prod(shape)) * dtype.itemsize
    try:
        content = file.read(size)
    except (EOFError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{CUT} ({error})") from error
    if len(content) < size:
        raise ValueError(CUT)
    values = np.frombuffer(content, dtype)
    return as_bands(values.reshape(shape, order="F" if columns_first else "C"))
