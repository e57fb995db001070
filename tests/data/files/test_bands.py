"""`--bands` picks and orders bands of any file, for the packed form too; a band that is not there is refused."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pcae.data.files.decode import Unreadable, decode_part, whole
from pcae.data.images import open_images
from pcae.data.survey import look
from pcae.settings.verbs.pack import PackConfig
from pcae.sharing.packing import pack_images
from tests.data.files.cases import jp2, tiff
from tests.data.files.formats import dicom, npy

FOUR = np.random.default_rng(0).integers(0, 256, (6, 7, 4), dtype=np.uint8)
DEEP = np.random.default_rng(0).integers(0, 65536, (6, 7, 5), dtype=np.uint16)


def by_pillow(samples: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(samples).save(file, kind, lossless=True)
    return file.getvalue()


def pages(samples: np.ndarray) -> bytes:
    return tiff(np.ascontiguousarray(np.moveaxis(samples, -1, 0)), photometric="minisblack")


FILES = {
    "PNG": (lambda: by_pillow(FOUR, "PNG"), FOUR),
    "PNG, 16 bits": (lambda: imagecodecs.png_encode(DEEP[..., :4].copy()), DEEP[..., :4]),
    "WebP": (lambda: by_pillow(FOUR[..., :3], "WEBP"), FOUR[..., :3]),
    "gray BMP": (lambda: by_pillow(FOUR[..., 0], "BMP"), FOUR[..., :1]),
    "palette": (lambda: by_pillow(FOUR[..., 0] // 64, "PNG"), FOUR[..., :1] // 64),
    "JPEG 2000": (lambda: jp2(DEEP[..., :4]), DEEP[..., :4]),
    "JPEG XL": (lambda: imagecodecs.jpegxl_encode(FOUR, lossless=True), FOUR),
    "TIFF": (lambda: tiff(DEEP, photometric="minisblack", planarconfig="contig"), DEEP),
    "TIFF by plane": (lambda: tiff(DEEP.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate"), DEEP),
    "TIFF of pages": (lambda: pages(DEEP), DEEP),
    "TIFF, opacity that is infrared": (lambda: tiff(FOUR, photometric="rgb", extrasamples=["unassalpha"]), FOUR),
    "NumPy": (lambda: npy(DEEP), DEEP),
    "DICOM, frames": (lambda: dicom(np.ascontiguousarray(np.moveaxis(DEEP, -1, 0))), DEEP),
}


@pytest.mark.parametrize("name", FILES)
def test_bands_are_those_of_the_file_in_the_order_asked_for(tmp_path, name):
    make, samples = FILES[name]
    levels = samples if samples.dtype == np.uint8 else samples // 256
    count = samples.shape[2]
    (tmp_path / "a.tif").write_bytes(make())
    for bands in [(count,), (1, count), (count, 1, 1), (1, count, 1, count)]:
        images = open_images(str(tmp_path), bands=bands)
        found = images.open(0)
        assert images.channels == len(bands) and np.array_equal(found, levels[..., [band - 1 for band in bands]])
        assert look(images, 0).mean == pytest.approx((found / 255).mean((0, 1)).tolist())
    missing = open_images(str(tmp_path), bands=(1, count + 1))
    with pytest.raises(Unreadable, match=f"it has {count} bands?, and no band {count + 1}; see --bands"):
        missing.open(0)
    assert look(missing, 0).error == f"it has {count} band{'s' * (count > 1)}, and no band {count + 1}; see --bands"


def test_one_band_is_gray_to_three_channels_and_turned_upright_as_ever(tmp_path):
    (tmp_path / "a.tif").write_bytes(
        tiff(FOUR, photometric="rgb", extrasamples=["unspecified"], extratags=[(274, 3, 1, 6, True)])
    )
    images = open_images(str(tmp_path), channels=3, bands=(4,))
    right = np.rot90(FOUR[..., 3], -1)
    assert np.array_equal(images.open(0), np.repeat(right[..., None], 3, 2))


def test_a_range_means_the_numbers_of_the_bands(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(DEEP[..., :3].astype(np.int32) - 1000))
    found = open_images(str(tmp_path), pixel_range=(-1000.0, 64535.0), bands=(3, 1)).open(0)
    assert np.abs(found[..., 0] - DEEP[..., 2] / 257).max() <= 0.5 + 1e-6


def test_a_jpeg_is_reduced_with_its_bands():
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), [10, 100, 200], np.uint8)).save(file, "JPEG")
    found = decode_part(file.getvalue(), 2, lambda size: whole(size)._replace(target=(8, 8)), bands=(3, 1))
    assert found.pixels.shape == (16, 16, 2)
    assert found.pixels.mean((0, 1)).tolist() == pytest.approx([200, 10], abs=3)


@pytest.mark.parametrize(
    ("bands", "channels", "reason"),
    [
        ((), None, "bands must be one or more numbers from 1"),
        ((0, 1), None, "bands must be one or more numbers from 1"),
        ((1, 2), 4, "channels 4 and 2 bands are asked for; leave --channels out"),
    ],
)
def test_bands_that_cannot_be_are_refused(tmp_path, bands, channels, reason):
    (tmp_path / "a.npy").write_bytes(npy(DEEP))
    with pytest.raises(ValueError, match=reason):
        open_images(str(tmp_path), channels=channels, bands=bands)
    with pytest.raises(ValueError, match="data 'sample' has 1 band, and no band 3; leave --bands out"):
        open_images("sample", bands=(3, 2, 1))


def test_a_packed_folder_has_its_bands_and_no_others(tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", DEEP[:6, :6], photometric="minisblack", planarconfig="contig")
    pack_images(PackConfig(data=str(tmp_path / "in"), out=tmp_path / "out", side=6, bands=(5, 2)))
    for images in (open_images(str(tmp_path / "out")), open_images(str(tmp_path / "out"), bands=(5, 2))):
        found = images.open(0)
        assert images.bands == (5, 2) and np.array_equal(found, DEEP[:6, :6, [4, 1]] // 256)
    with pytest.raises(ValueError, match="was packed with bands 5 2; pack it anew with --bands 2 5"):
        open_images(str(tmp_path / "out"), bands=(2, 5))
