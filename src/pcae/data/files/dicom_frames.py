"""The samples of one frame of a DICOM file, whatever its compression; which decoder does what is said here alone."""

import io
from typing import Any

import imagecodecs
import numpy as np

from pcae.data.files.codecs import CUT, decoded
from pcae.data.files.jpeg import FRAMES, LS, Frame, check_end
from pcae.data.files.jpeg import frame_of as jpeg_frame
from pcae.data.files.segments import jpeg2000_size
from pcae.data.files.stored import Size

Dataset = Any
"""pydicom's Dataset."""
UID = "1.2.840.10008.1.2."
RLE = f"{UID}5"
JPEG = {f"{UID}4.{number}" for number in (50, 51, 57, 70, 80, 81)}
JPEG_2000 = {f"{UID}4.{number}" for number in (90, 91, 201, 202, 203)}
"""Transfer syntaxes; those of JPEG-LS are JPEG's here."""


def frame_of(dataset: Dataset, index: int) -> np.ndarray:
    """Samples of height x width, or with red, green and blue behind them; integers as their bits and sign say.

    Raises ValueError for a file that is cut off, and for compressions that are not read.
    """
    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()):
        raise ValueError(CUT)
    syntax, space = dataset.file_meta.TransferSyntaxUID, dataset.PhotometricInterpretation
    if not syntax.is_compressed or syntax == RLE:
        samples = by_pydicom(dataset, index)
    elif syntax in JPEG | JPEG_2000:
        samples = by_imagecodecs(dataset, content_of(dataset, index), syntax in JPEG)
    else:
        raise ValueError(f"it is compressed as {syntax.name}, which is not read; save it uncompressed")
    if samples.ndim == 3 or samples.dtype.kind == "f":
        return samples
    declared = as_declared(dataset, samples)
    return looked_up(dataset, declared) if space == "PALETTE COLOR" else declared


def by_pydicom(dataset: Dataset, index: int) -> np.ndarray:
    """A frame that pydicom decodes by itself: uncompressed, or RLE; YBR becomes RGB."""
    from pydicom.pixels.utils import pixel_array

    try:
        return pixel_array(dataset, index=index, decoding_plugin="pydicom", correct_unused_bits=False)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{CUT} ({error})") from error


def content_of(dataset: Dataset, index: int) -> bytes:
    """A frame in a format of its own, as it is stored."""
    from pydicom.encaps import get_frame

    try:
        return get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{CUT} ({error})") from error


def by_imagecodecs(dataset: Dataset, content: bytes, jpeg: bool) -> np.ndarray:
    """The samples of a JPEG, JPEG-LS or JPEG 2000, whose sides are looked at first; YBR becomes RGB."""
    from pydicom.pixels.processing import convert_color_space

    frame = jpeg_frame(io.BytesIO(content), {*FRAMES, LS}) if jpeg else None
    if jpeg and frame is None:
        raise ValueError(CUT)
    check_sides(dataset, frame.size if frame else jpeg2000_size(content))
    samples = by_jpeg(dataset, content, frame) if frame else decoded(imagecodecs.jpeg2k_decode, content)
    in_colours = frame is not None and not frame.lossless
    if dataset.PhotometricInterpretation in {"YBR_FULL", "YBR_FULL_422"} and not in_colours:
        return convert_color_space(samples, "YBR_FULL", "RGB")
    return samples[..., 0] if samples.shape[2] == 1 else samples


def by_jpeg(dataset: Dataset, content: bytes, frame: Frame) -> np.ndarray:
    """A JPEG: one with loss is in the colours that it says itself, else in those that the file says."""
    check_end(content)
    if frame.marker == LS:
        return decoded(imagecodecs.jpegls_decode, content)
    told = any(name in content[: content.index(b"\xff\xda")] for name in (b"JFIF\0", b"Adobe\0"))
    if frame.bands == 1 or (told and not frame.lossless):
        return decoded(imagecodecs.jpeg8_decode, content)
    plain = frame.lossless or dataset.PhotometricInterpretation == "RGB"
    return decoded(imagecodecs.jpeg8_decode, content, colorspace="RGB" if plain else "YCBCR", outcolorspace="RGB")


def check_sides(dataset: Dataset, size: Size) -> None:
    """Raise ValueError for a frame that is not of the size that the header says."""
    if size != (dataset.Columns, dataset.Rows):
        raise ValueError(
            f"it says {dataset.Columns} x {dataset.Rows} pixels, and a frame of it has {size[0]:,} x {size[1]:,}"
        )


def as_declared(dataset: Dataset, samples: np.ndarray) -> np.ndarray:
    """Integers of the bits that count: what stands above or below them is something else; the highest may be a sign."""
    if dataset.BitsAllocated == 1:
        return samples
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    room, unsigned = 8 * native.itemsize, np.dtype(f"u{native.itemsize}")
    bits = min(dataset.get("BitsStored") or room, room)
    top = bits if dataset.file_meta.TransferSyntaxUID.is_compressed else dataset.get("HighBit", bits - 1) + 1
    whole = native.view(unsigned) << (room - min(max(top, bits), room))
    return whole.view(f"i{native.itemsize}" if dataset.get("PixelRepresentation") else unsigned) >> (room - bits)


def looked_up(dataset: Dataset, samples: np.ndarray) -> np.ndarray:
    """The colours of a palette's indices. Some programs write palettes of 8 bits where 16 are meant."""
    from pydicom.pixels.processing import apply_color_lut

    colours = apply_color_lut(samples, dataset)
    return colours if colours.dtype == np.uint8 or colours.max() > 255 else colours.astype(np.uint8)
