"""DICOM, the format of medicine, by pydicom: the first frame, or all frames as bands; black and white as it says."""

from functools import partial
from typing import Any

import numpy as np

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import optional
from pcae.data.files.dicom_frames import frame_of
from pcae.data.files.stored import Photometric, Stored, as_bands, kind_of

Dataset = Any
"""pydicom's Dataset."""
PREAMBLE, MAGIC = 128, b"DICM"
"""Where DICOM files say what they are, behind room for anything."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
"""All but the first part of such a file is deflated, to any size."""
HEAD = 2_048
MONOCHROME: dict[str, Photometric] = {"MONOCHROME1": "white is zero", "MONOCHROME2": "gray"}
PALETTE = "PALETTE COLOR"
COLOURS = {"RGB", PALETTE, "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
TONE, SCALE = "FrameVOILUTSequence", "PixelValueTransformationSequence"
"""Where files of many frames say, for each, what is black and white and what its numbers mean."""


def read_dicom(file: File) -> Stored:
    """A DICOM file. Raises ValueError for one without an image, and for colours and types that are not read."""
    pydicom = optional("pydicom", "a DICOM file")
    if DEFLATED in file.read(HEAD):
        raise ValueError("it is deflated as a whole, which is not read; save it uncompressed (dcmconv +te)")
    file.seek(0)
    header = pydicom.dcmread(file, stop_before_pixels=True)
    space = header.get("PhotometricInterpretation")
    if not {"Rows", "Columns", "BitsAllocated"} <= set(header.dir()) or not space:
        raise ValueError(
            f"it is a DICOM file without an image ({header.get('Modality') or 'of no modality'}), or cut off"
        )
    if space not in COLOURS and space not in MONOCHROME:
        raise ValueError(f"its colours are {space}, which is not read; save it as RGB or MONOCHROME2")
    dtype, bands, frames = dtype_of(header), 3 if space in COLOURS else 1, int(header.get("NumberOfFrames") or 1)
    check_pixels(header.Columns, header.Rows, bands, dtype.itemsize)
    scale = scale_of(header, 0) if space in MONOCHROME else (1.0, 0.0)
    curved, white = space in MONOCHROME and is_curved(header), white_of(header)
    return Stored(
        format="DICOM",
        kind=kind_of(dtype, bands),
        size=(header.Columns, header.Rows),
        load=partial(first_frame, pydicom, file),
        load_pages=partial(all_frames, pydicom, file, header) if frames > 1 and bands == 1 else None,
        photometric=MONOCHROME.get(space, "rgb"),
        white=None if curved or scale != (1, 0) or space == PALETTE else white,
        window=None if curved or space in COLOURS else window_of(header) or range_of(white, scale),
        nodata=number(header, "PixelPaddingValue") if space in MONOCHROME else None,
        scale=scale if curved or scale != (1, 0) else None,
    )


def dtype_of(header: Dataset) -> np.dtype:
    """What a sample is unpacked to. Raises ValueError for floats, which no scanner writes, and odd sizes."""
    bits = 8 if header.BitsAllocated == 1 else header.BitsAllocated
    if bits not in {8, 16, 32}:
        raise ValueError(f"its samples have {bits} bits, which is not read; save it with 8 or 16")
    return np.dtype(f"{'i' if header.get('PixelRepresentation') else 'u'}{bits // 8}")


def said(header: Dataset, frame: int, sequence: str) -> Dataset:
    """The part of a header that says something of a frame: its own, else that of all frames, else the whole."""
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for group in (*own[frame : frame + 1], *shared[:1]):
        if found := group.get(sequence):
            return found[0]
    return header


def number(part: Dataset, name: str) -> float | None:
    """The number that a header says, the first one of several."""
    value = part.get(name)
    value = value if value is None or isinstance(value, str | int | float) else next(iter(value), None)
    return None if value in (None, "") else float(value)


def scale_of(header: Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept of the physical values of a frame. Raises ValueError for a table of them."""
    part = said(header, frame, SCALE)
    if part.get("ModalityLUTSequence"):
        raise ValueError("a table says what its numbers mean (Modality LUT), which is not read; save it without")
    slope, intercept = number(part, "RescaleSlope"), number(part, "RescaleIntercept")
    return slope or 1.0, intercept or 0.0


def is_curved(header: Dataset) -> bool:
    """Whether black and white are the ends of a curve or of a table, so that what lies between is no straight line."""
    part = said(header, 0, TONE)
    if part.get("VOILUTFunction", "LINEAR") not in {"LINEAR", "LINEAR_EXACT", ""}:
        return True
    return bool(part.get("VOILUTSequence")) and number(part, "WindowWidth") is None


def window_of(header: Dataset) -> tuple[float, float] | None:
    """The physical values that are black and white by a file's first window (DICOM PS3.3, C.11.2.1.2)."""
    part = said(header, 0, TONE)
    centre, width = number(part, "WindowCenter"), number(part, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    if part.get("VOILUTFunction") != "LINEAR_EXACT":
        centre, width = centre - 0.5, max(width - 1, 0.01)  # a window of 1 is a step
    return centre - width / 2, centre + width / 2


def white_of(header: Dataset) -> float | None:
    """The largest number that the bits can hold, where the file says that they are fewer than 16."""
    bits = header.get("BitsStored") or header.BitsAllocated
    return None if header.get("PixelRepresentation") or bits >= 16 else 2.0**bits - 1


def range_of(white: float | None, scale: tuple[float, float]) -> tuple[float, float] | None:
    """The physical values of the least and the largest number that the bits can hold, where these have a scale."""
    slope, intercept = scale
    return None if white is None or slope <= 0 or scale == (1, 0) else (intercept, intercept + slope * white)


def first_frame(pydicom: Any, file: File) -> np.ndarray:
    """The samples of the first frame."""
    file.seek(0)
    return as_bands(frame_of(pydicom.dcmread(file), 0))


def all_frames(pydicom: Any, file: File, header: Dataset) -> np.ndarray:
    """The samples of all frames, as bands. Raises ValueError where their numbers do not mean the same."""
    frames = int(header.NumberOfFrames)
    check_pixels(header.Columns, header.Rows, frames, header.BitsAllocated // 8 or 1)
    if len({scale_of(header, frame) for frame in range(frames)}) > 1:
        raise ValueError("each of its frames has a scale of its own, which is not read; save each frame as a file")
    file.seek(0)
    dataset = pydicom.dcmread(file)
    return np.stack([frame_of(dataset, frame) for frame in range(frames)], -1)
