"""The same pictures have the same features in every format, but for what compression takes; an extra is named."""

import io
import json
import subprocess
import sys

import imagecodecs
import numpy as np
import pi_heif
import pytest
import skimage.data
import tifffile
from PIL import Image

from pcae.cli import main
from pcae.weights.files import save_model
from tests.data.files.formats import dicom
from tests.data.files.heic.make import HERE
from tests.weights.exported import model_of

PHOTOGRAPHS = {"astronaut": skimage.data.astronaut, "coffee": skimage.data.coffee, "chelsea": skimage.data.chelsea}
SIDE = 128


def photograph(name: str) -> np.ndarray:
    """A square of a photograph, shrunk as the HEIC files are."""
    pixels = PHOTOGRAPHS[name]()
    side = min(pixels.shape[:2])
    square = Image.fromarray(np.ascontiguousarray(pixels[:side, :side]))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def lzw(deep: np.ndarray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, deep, photometric="rgb", compression="lzw")
    return file.getvalue()


def array(deep: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, deep)
    return file.getvalue()


def photographs(write) -> dict[str, bytes]:
    """A file of each photograph, made of its pixels of 8 bits and of the same ones in 16."""
    made = {name: photograph(name) for name in PHOTOGRAPHS}
    return {name: write(pixels, pixels.astype(np.uint16) * 257) for name, pixels in made.items()}


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def by_pi_heif(content: bytes) -> np.ndarray:
    return np.array(pi_heif.open_heif(io.BytesIO(content)).to_pillow())


EXACT = {
    "png": lambda pixels, deep: imagecodecs.png_encode(deep),
    "tif": lambda pixels, deep: lzw(deep),
    "dcm": lambda pixels, deep: dicom(deep[None], "RGB"),
    "npy": lambda pixels, deep: array(deep),
}
LOSSY = {
    "jpg": (lambda pixels, deep: jpeg(pixels), by_pillow),
    "avif": (lambda pixels, deep: imagecodecs.avif_encode(pixels, level=90), by_pillow),
    "jxl": (lambda pixels, deep: imagecodecs.jpegxl_encode(pixels, level=90), imagecodecs.jpegxl_decode),
    "heic": (None, by_pi_heif),
}


@pytest.mark.slow
def test_the_same_pictures_have_the_same_features_in_every_format(tmp_path):
    """Formats without loss agree to rounding. Those with loss agree as far with what their compression left: pixels
    that their own library decodes, written as PNG. That loss moves features by less than a tenth of what lies between
    two photographs (1 to 4 hundredths here, at quality 90).
    """
    model = model_of(channels=3)
    save_model(tmp_path / "a.safetensors", model.encoder.vit, model.facts)

    def features(suffix: str, files: dict[str, bytes]) -> np.ndarray:
        folder = tmp_path / f"folder {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, content in files.items():
            (folder / f"{name}.{suffix}").write_bytes(content)
        weights, out = str(tmp_path / "a.safetensors"), str(folder) + ".npy"
        main(["embed", str(folder), "--weights", weights, "--out", out, "--device", "cpu"])
        return np.load(out).astype(np.float64)

    right = features("png", photographs(lambda pixels, deep: imagecodecs.png_encode(pixels)))
    apart = min(np.linalg.norm(right[a] - right[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    for suffix, write in EXACT.items():
        assert np.abs(features(suffix, photographs(write)) - right).max() < 1e-5, suffix
    for suffix, (write, decode) in LOSSY.items():
        files = photographs(write) if write else {name: (HERE / f"{name}.heic").read_bytes() for name in PHOTOGRAPHS}
        left = {name: imagecodecs.png_encode(decode(content)) for name, content in files.items()}
        found = features(suffix, files)
        assert np.abs(found - features("png", left)).max() < 1e-5, suffix
        assert np.linalg.norm(found - right, axis=1).max() < 0.1 * apart, suffix


WITHOUT = """
import sys
sys.modules["pi_heif"] = sys.modules["pydicom"] = None
from pcae.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_without_the_extra_one_line_names_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.heic").write_bytes((HERE / "rgb8.heic").read_bytes())
    (tmp_path / "in" / "b.dcm").write_bytes(dicom(np.zeros((1, 8, 8), np.uint8)))
    words = [sys.executable, "-c", WITHOUT]
    ran = subprocess.run(
        [*words, "check-data", str(tmp_path / "in"), "--json", "--device", "cpu"],
        capture_output=True,
        text=True,
        check=True,
    )
    reasons = [one["reason"] for group in json.loads(ran.stdout)["faults"]["unreadable"]["groups"] for one in group]
    remedy = 'which needs another package: pip install "pcae[formats]"'
    assert reasons == [f"it is a HEIF picture (HEIC), {remedy}", f"it is a DICOM file, {remedy}"]
    model = model_of(channels=3)
    save_model(tmp_path / "a.safetensors", model.encoder.vit, model.facts)
    said = subprocess.run(
        [
            *words,
            "embed",
            str(tmp_path / "in"),
            "--weights",
            str(tmp_path / "a.safetensors"),
            "--out",
            str(tmp_path / "b.npy"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2 and remedy in said.stderr.splitlines()[-1]
