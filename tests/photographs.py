"""Real photographs in every format that a folder may hold, and files that only look like photographs."""

from functools import cache
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

TORN = b"\xff\xd8\xff\xe0 no photograph"


@cache
def photographs() -> tuple[Image.Image, ...]:
    """Eight colour photographs of different sizes, which nobody may change."""
    arrays = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.hubble_deep_field(), data.retina()]
    return tuple(Image.fromarray(pixels) for pixels in [*arrays, *load_sample_images().images])


def save_jpeg(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".jpg"))


def save_rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path.with_suffix(".JPEG"), exif=exif)


def save_apng(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".apng"), save_all=True, append_images=[image.rotate(180)])


def save_gif(image: Image.Image, path: Path) -> None:
    image.quantize(64).save(path.with_suffix(".gif"), save_all=True, append_images=[image.rotate(180).quantize(64)])


def save_palette_with_transparency(image: Image.Image, path: Path) -> None:
    image.quantize(64).save(path.with_suffix(".png"), transparency=3)


def save_rgba(image: Image.Image, path: Path) -> None:
    image.putalpha(image.convert("L"))
    image.save(path.with_suffix(".png"))


def save_16_bits(image: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path.with_suffix(".png"))


def save_16_bit_tiff(image: Image.Image, path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), np.asarray(image).astype(np.uint16) * 257, photometric="rgb")


def save_float_tiff(image: Image.Image, path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tiff"), (np.asarray(image) / 255).astype(np.float32), photometric="rgb")


KINDS = {
    "jpeg": save_jpeg,
    "jpeg, cmyk": lambda image, path: image.convert("CMYK").save(path.with_suffix(".jpg")),
    "jpeg, gray": lambda image, path: image.convert("L").save(path.with_suffix(".jpg")),
    "jpeg, rotated": save_rotated,
    "png": lambda image, path: image.save(path.with_suffix(".png")),
    "png, palette": save_palette_with_transparency,
    "png, rgba": save_rgba,
    "png, 16 bits": save_16_bits,
    "png, 1 bit": lambda image, path: image.convert("1").save(path.with_suffix(".PNG")),
    "webp": lambda image, path: image.save(path.with_suffix(".webp")),
    "gif": save_gif,
    "apng": save_apng,
    "bmp": lambda image, path: image.save(path.with_suffix(".bmp")),
    "tiff": lambda image, path: image.save(path.with_suffix(".tif")),
    "tiff, 16 bits": save_16_bit_tiff,
    "tiff, float": save_float_tiff,
}
"""How a photograph is saved, by kind."""


def make_folder(folder: Path, count: int, bad: int = 0) -> list[str]:
    """A flat folder of `count` files, all kinds in turn, the last `bad` of them torn; returns the names of these."""
    folder.mkdir(parents=True)
    sources, kinds = photographs(), list(KINDS.values())
    for index in range(count - bad):
        image = sources[index % len(sources)]
        left, top = index * 7 % (image.width - 200), index * 11 % (image.height - 160)
        crop = image.crop((left, top, left + 120 + index % 9 * 10, top + 100 + index % 7 * 10))
        kinds[index % len(kinds)](crop, folder / f"photo {index:02d}")
    torn = [f"torn {index}.{suffix}" for index, suffix in zip(range(bad), ("jpg", "png", "tif") * bad, strict=False)]
    for index, name in enumerate(torn):
        whole = sorted(folder.glob("photo*.jpg"))[index].read_bytes()
        (folder / name).write_bytes((TORN, b"", whole[: len(whole) // 2])[index % 3])
    return torn
