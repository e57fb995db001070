"""Files of phones, hospitals and NumPy, and the pixels that each shows, computed here from what was written."""

import io
import re
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests.data.files.cases import DEEP, GRAY, LOW, RANGE, RGB, Case
from tests.data.files.heic.make import HERE, ramps

EIGHT = np.rint(RGB * 255).astype(np.uint8)
FULL = np.rint(GRAY * 65535).astype(np.uint16)
SIGNED = (np.rint(GRAY * 2000) - 1000).astype(np.int16)
SHIFTED = (SIGNED + 1024).astype(np.uint16)
HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024}
WINDOW = {"WindowCenter": 0.5, "WindowWidth": 2001}
"""The line from -999.5 to 1000.5 that is black to white, by the formula of DICOM."""


def dicom(
    samples: np.ndarray, space: str = "MONOCHROME2", syntax: str = "1", content: Sequence[bytes] = (), **tags: object
) -> bytes:
    """A DICOM file of frames x height x width, or with colours behind; content: its frames as they are compressed.

    tags: what else it says, or in place of what follows from the samples.
    """
    file, frames = Dataset(), samples.shape[0]
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.{syntax}".strip("."))
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = UID("1.2.3")
    file.Rows, file.Columns = samples.shape[1:3]
    file.SamplesPerPixel, file.PhotometricInterpretation = 3 if samples.ndim == 4 else 1, space
    file.BitsAllocated = file.BitsStored = 8 * samples.dtype.itemsize
    file.PixelRepresentation = int(samples.dtype.kind == "i")
    if samples.ndim == 4:
        file.PlanarConfiguration = 0
    if frames > 1:
        file.NumberOfFrames = frames
    file.PixelData = encapsulate(list(content)) if content else samples.tobytes()
    file["PixelData"].VR = "OW" if samples.itemsize == 2 and not content else "OB"
    for name, value in tags.items():
        setattr(file, name, value)
    file.HighBit = tags.get("HighBit", file.BitsStored - 1)
    written = io.BytesIO()
    pydicom.dcmwrite(written, file, enforce_file_format=True)
    return written.getvalue()


def by_hand(samples: np.ndarray) -> bytes:
    """A gray DICOM file of 16 bits, whose tags are put together here."""
    height, width = samples.shape

    def tag(group: int, element: int, kind: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        length = struct.pack("<2xI" if kind in {b"OW", b"OB"} else "<H", len(value))
        return struct.pack("<HH2s", group, element, kind) + length + value

    meta = tag(2, 0x10, b"UI", b"1.2.840.10008.1.2.1")
    head = bytes(128) + b"DICM" + tag(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    numbers = {0x10: height, 0x11: width, 0x100: 16, 0x101: 16, 0x102: 15, 0x103: 0}
    body = tag(0x28, 2, b"US", struct.pack("<H", 1)) + tag(0x28, 4, b"CS", b"MONOCHROME2")
    body += b"".join(tag(0x28, element, b"US", struct.pack("<H", value)) for element, value in numbers.items())
    return head + body + tag(0x7FE0, 0x10, b"OW", samples.astype("<u2").tobytes())


def without_marker(jpeg: bytes, marker: int) -> bytes:
    """A JPEG that does not say what its colours are."""
    place = jpeg.index(bytes([0xFF, marker]))
    return jpeg[:place] + jpeg[place + 2 + int.from_bytes(jpeg[place + 2 : place + 4]) :]


def ybr(colours: np.ndarray) -> np.ndarray:
    """Colours of 8 bits as lightness and two differences, as JFIF has them (ITU-R BT.601, full range)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.rint(colours @ matrix.T + [0, 128, 128]).clip(0, 255).astype(np.uint8)


def rle(samples: np.ndarray) -> bytes:
    """A frame of 16 bits by DICOM's run lengths: the upper bytes, then the lower ones, none of them repeated."""
    planes = [(samples >> 8).astype(np.uint8).tobytes(), (samples & 255).astype(np.uint8).tobytes()]
    parts = [b"".join(bytes([len(p[i : i + 128]) - 1]) + p[i : i + 128] for i in range(0, len(p), 128)) for p in planes]
    parts = [part + b"\0" * (len(part) % 2) for part in parts]
    return struct.pack("<16I", 2, 64, 64 + len(parts[0]), *[0] * 13) + b"".join(parts)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def palette() -> dict[str, object]:
    """Three tables of 256 numbers of 16 bits: red as it is, green turned, blue half of it."""
    tables = {"Red": np.arange(256), "Green": 255 - np.arange(256), "Blue": np.arange(256) // 2}
    data = {
        f"{name}PaletteColorLookupTableData": (table * 257).astype("<u2").tobytes() for name, table in tables.items()
    }
    return data | {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in tables}


def dicoms() -> dict[str, Callable[[], Case]]:
    """DICOM files by name."""
    gray, low, full, colour, shifted = GRAY * 255, LOW[None], FULL[None], EIGHT[None], SHIFTED[None]
    indices = np.rint(gray).astype(np.uint8)
    looked_up = np.stack([indices, 255 - indices, indices // 2], -1).astype(float)
    lossless = partial(imagecodecs.jpeg8_encode, lossless=True)
    plain = imagecodecs.jpeg8_encode(EIGHT, level=98, colorspace="RGB", outcolorspace="RGB")
    usual = imagecodecs.jpeg8_encode(EIGHT, level=98)
    decoded = imagecodecs.jpeg8_decode(usual).astype(float)
    frames = np.stack([FULL, 65535 - FULL, FULL // 2])
    per_frame = Dataset()
    per_frame.PixelValueTransformationSequence, per_frame.FrameVOILUTSequence = [Dataset()], [Dataset()]
    for name, value in HOUNSFIELD.items():
        setattr(per_frame.PixelValueTransformationSequence[0], name, value)
    for name, value in WINDOW.items():
        setattr(per_frame.FrameVOILUTSequence[0], name, value)
    made: dict[str, tuple[Callable[[], bytes], np.ndarray | str, int]] = {
        "by hand": (lambda: by_hand(FULL), gray, 1),
        "as colour": (lambda: dicom(full), np.repeat(gray[..., None], 3, 2), 3),
        "white is zero": (lambda: dicom(full, "MONOCHROME1"), 255 - gray, 1),
        "12 bits": (lambda: dicom(low, BitsStored=12), gray, 1),
        "12 bits, white is zero": (lambda: dicom(low, "MONOCHROME1", BitsStored=12), 255 - gray, 1),
        "12 bits under an overlay": (lambda: dicom(low | 0xF000, BitsStored=12), gray, 1),
        "12 upper bits": (lambda: dicom(low << 4, BitsStored=12, HighBit=15), gray, 1),
        "12 bits, a scale": (lambda: dicom(low, BitsStored=12, **HOUNSFIELD), gray, 1),
        "signed": (lambda: dicom(SIGNED[None]), f"its int16 pixels reach from -1000 to 1000.*{RANGE}", 1),
        "signed, a window": (lambda: dicom(SIGNED[None], **WINDOW), gray, 1),
        "signed in 12 bits": (
            lambda: dicom(SIGNED[None].view("u2") & 0xFFF, BitsStored=12, PixelRepresentation=1, **WINDOW), gray, 1
        ),
        "a scale alone": (lambda: dicom(shifted, **HOUNSFIELD), f"its physical values .*{RANGE}", 1),
        "a scale and a window": (lambda: dicom(shifted, **HOUNSFIELD, **WINDOW), gray, 1),
        "two windows": (
            lambda: dicom(shifted, **HOUNSFIELD, WindowCenter=[0.5, 40], WindowWidth=[2001, 80]), gray, 1
        ),
        "an exact window": (
            lambda: dicom(low, WindowCenter=2047.5, WindowWidth=4095, VOILUTFunction="LINEAR_EXACT"), gray, 1
        ),
        "a window of one": (lambda: dicom(low, WindowCenter=2048, WindowWidth=1), (LOW > 2047.5) * 255.0, 1),
        "a curve": (
            lambda: dicom(full, **WINDOW, VOILUTFunction="SIGMOID"), f"its physical values reach .*{RANGE}", 1
        ),
        "scale and window by frame": (
            lambda: dicom(np.stack([SHIFTED] * 2), PerFrameFunctionalGroupsSequence=[per_frame] * 2), gray, 1
        ),
        "padding": (lambda: dicom(np.where(GRAY > 0.5, FULL, 7)[None], PixelPaddingValue=7), gray * (GRAY > 0.5), 1),
        "colours": (lambda: dicom(colour, "RGB"), RGB * 255, 3),
        "colours, 12 bits": (lambda: dicom(DEEP[None] >> 4, "RGB", BitsStored=12), RGB * 255, 3),
        "colours, 16 bits": (lambda: dicom(DEEP[None], "RGB"), RGB * 255, 3),
        "colours by plane": (
            lambda: dicom(
                np.ascontiguousarray(np.moveaxis(EIGHT, -1, 0)).reshape(colour.shape), "RGB", PlanarConfiguration=1
            ),
            RGB * 255,
            3,
        ),
        "YBR": (lambda: dicom(ybr(colour), "YBR_FULL"), RGB * 255, 3),
        "palette": (lambda: dicom(indices[None], "PALETTE COLOR", **palette()), looked_up, 3),
        "big-endian": (lambda: dicom(full.astype(">u2"), syntax="2"), gray, 1),
        "implicit": (lambda: dicom(full, syntax=""), gray, 1),
        "RLE": (lambda: dicom(full, syntax="5", content=[rle(FULL)]), gray, 1),
        "JPEG": (lambda: dicom(colour, "YBR_FULL_422", "4.50", [usual]), decoded, 3),
        "JPEG without a marker": (
            lambda: dicom(colour, "YBR_FULL_422", "4.50", [without_marker(usual, 0xE0)]), decoded, 3
        ),
        "JPEG of RGB without a marker": (
            lambda: dicom(colour, "RGB", "4.50", [without_marker(plain, 0xEE)]), RGB * 255, 3
        ),
        "JPEG, 12 bits": (
            lambda: dicom(low, syntax="4.51", BitsStored=12,
                          content=[imagecodecs.jpeg8_encode(LOW, bitspersample=12, level=100)]), gray, 1
        ),
        "JPEG without loss": (lambda: dicom(full, syntax="4.70", content=[lossless(FULL, bitspersample=16)]), gray, 1),
        "JPEG without loss, YBR": (lambda: dicom(colour, "YBR_FULL", "4.57", [lossless(ybr(EIGHT))]), RGB * 255, 3),
        "JPEG-LS": (lambda: dicom(full, syntax="4.80", content=[imagecodecs.jpegls_encode(FULL)]), gray, 1),
        "JPEG 2000": (
            lambda: dicom(full, syntax="4.90", content=[imagecodecs.jpeg2k_encode(FULL, level=0, codecformat="j2k")]),
            gray,
            1,
        ),
        "JPEG 2000, signed": (
            lambda: dicom(SIGNED[None], syntax="4.90", **WINDOW,
                          content=[imagecodecs.jpeg2k_encode(SIGNED, level=0, codecformat="j2k")]), gray, 1
        ),
        "JPEG 2000, colours": (
            lambda: dicom(colour, "YBR_RCT", "4.90",
                          [imagecodecs.jpeg2k_encode(EIGHT, level=0, reversible=True, mct=True, codecformat="j2k")]),
            RGB * 255,
            3,
        ),
        "JPEG 2000 in its boxes": (
            lambda: dicom(full, syntax="4.90", content=[imagecodecs.jpeg2k_encode(FULL, level=0, codecformat="jp2")]),
            gray,
            1,
        ),
        "HTJ2K": (
            lambda: dicom(full, syntax="4.201", content=[imagecodecs.htj2k_encode(FULL, reversible=True)]), gray, 1
        ),
        "the first of three frames": (lambda: dicom(frames), gray, 1),
        "a film": (
            lambda: dicom(colour, "RGB", "4.102", [b"film"]), r"compressed as MPEG-4 .* save it uncompressed", 3
        ),
        "deflated": (lambda: dicom(full, syntax="1.99"), r"deflated as a whole.*save it uncompressed", 1),
        "a report": (
            lambda: dicom(full, PhotometricInterpretation=None, Modality="SR"), r"without an image \(SR\), or cut", 1
        ),
        "a frame of another size": (
            lambda: dicom(colour, "RGB", "4.50", [imagecodecs.jpeg8_encode(np.zeros((2000, 2000, 3), np.uint8))]),
            "it says 32 x 24 pixels, and a frame of it has 2,000 x 2,000", 3,
        ),
    }  # fmt: skip
    cases = {f"DICOM, {name}": partial(made_case, *parts) for name, parts in made.items()}
    cases["DICOM, a scale, a range"] = lambda: Case(dicom(shifted, **HOUNSFIELD, **WINDOW), gray, 1, (-1000, 1000))
    cases["DICOM, 8 bits, a window, a range"] = lambda: Case(
        dicom(indices[None], WindowCenter=64, WindowWidth=128), indices.astype(float), 1, (0, 255)
    )
    cases["DICOM, 6 bits in 8, a range"] = lambda: Case(dicom(indices[None] // 4, BitsStored=6), gray, 1, (0, 4095))
    cases["DICOM, a curve, a range"] = lambda: Case(dicom(full, VOILUTFunction="SIGMOID"), gray, 1, (0, 65535))
    cases["DICOM, all frames"] = lambda: Case(dicom(frames[:2]), np.stack([gray, 255 - gray], -1), 2)
    return cases


def made_case(content: Callable[[], bytes], right: np.ndarray | str, channels: int) -> Case:
    return Case(content(), right, channels)


def arrays() -> dict[str, Callable[[], Case]]:
    """Files of NumPy by name."""
    gray, bands = GRAY * 255, np.concatenate([DEEP, FULL[..., None], FULL[..., None] // 2], -1)
    records = np.zeros((4, 4), [("a", "u1"), ("b", "u1")])
    return {
        "NumPy, 8 bits": lambda: Case(npy(EIGHT), RGB * 255),
        "NumPy, 16 bits": lambda: Case(npy(FULL), gray, 1),
        "NumPy, big-endian": lambda: Case(npy(FULL.astype(">u2")), gray, 1),
        "NumPy, columns first": lambda: Case(npy(np.asfortranarray(DEEP)), RGB * 255),
        "NumPy, floats": lambda: Case(npy(GRAY.astype(np.float16)), gray, 1),
        "NumPy, truth": lambda: Case(npy(GRAY > 0.5), (GRAY > 0.5) * 255.0, 1),
        "NumPy, signed": lambda: Case(npy(SIGNED), f"its int16 pixels reach from -1000 to 1000.*{RANGE}", 1),
        "NumPy, signed, a range": lambda: Case(npy(SIGNED), gray, 1, (-1000, 1000)),
        "NumPy, five bands": lambda: Case(npy(bands), bands / 257, 5),
        "NumPy, five bands as colour": lambda: Case(npy(bands), "it has 5 channels, not 3"),
        **{
            f"NumPy, {array.shape}": lambda array=array: Case(npy(array), r"bands seem to come first; .*moveaxis", 3)
            for array in (np.moveaxis(EIGHT, -1, 0), FULL[None], np.zeros((12, 64, 64), np.uint8))
        },
        "NumPy, few rows": lambda: Case(npy(DEEP[:2]), RGB[:2] * 255),
        "NumPy, a batch": lambda: Case(npy(EIGHT[None]), r"the shape \(1, 24, 32, 3\); .* save one array an image"),
        "NumPy, pickled": lambda: Case(npy(np.array([[{}]], object)), "its values are object"),
        "NumPy, records": lambda: Case(npy(records), "which are no pixels|is for records"),
        "NumPy, zipped": lambda: Case(npz(image=DEEP), RGB * 255),
        "NumPy, two zipped": lambda: Case(npz(a=DEEP, b=DEEP), "it holds 2 arrays .* save each array as a .npy"),
    }  # fmt: skip


def heics() -> dict[str, Callable[[], Case]]:
    """The files of phones beside `heic/make.py`, which says what they show."""
    light = ramps() * 255
    over = np.where(np.arange(96)[:, None] < 48, light, light * 0.5 + 127.5)
    right = {
        "rgb8": light, "rgb10": light, "rgb8-lossy": light, "rgba8": over, "gray8": light[..., 0],
        "gray10": light[..., 0], "irot": np.rot90(light, -1), "irot-and-exif": np.rot90(light, -1), "exif": light,
    }  # fmt: skip
    return {
        f"HEIC {name}": partial(heic, HERE / f"{name}.heic", pixels, 1 if pixels.ndim == 2 else 3)
        for name, pixels in right.items()
    }


def heic(path: Path, right: np.ndarray, channels: int) -> Case:
    return Case(path.read_bytes(), right, channels)


FORMATS = dicoms() | arrays() | heics()
ROUNDED = {name: 3 for name in FORMATS if re.search("HEIC|YBR|JPEG of", name)} | {
    "HEIC rgb8-lossy": 8,
    "DICOM, 6 bits in 8, a range": 4,
}
"""Gray levels that colours may be away, which are stored as lightness and differences."""
