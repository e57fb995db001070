"""Writes the HEIC files beside it: `python make.py`, where pillow-heif, scikit-image and pooch are installed.

Made once with pillow-heif 1.8.1 (libheif 1.23.6, x265 4.3). Its wheel holds an encoder under the GPL, so it is no
dependency; pi-heif, which reads, has none.
"""

from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT = 96, 64


def ramps() -> np.ndarray:
    """Red from left to right, green from top to bottom, blue from right to left, each from 0 to 1."""
    across, down = np.meshgrid(np.arange(WIDTH) / (WIDTH - 1), np.arange(HEIGHT) / (HEIGHT - 1))
    return np.stack([across, down, 1 - across], -1)


def write(name: str, samples: np.ndarray, mode: str, **options: object) -> bytes:
    """One file without loss, in full colour, but for what its name says. An orientation in EXIF becomes an irot box."""
    import pillow_heif  # pyright: ignore[reportMissingImports]

    file = pillow_heif.from_bytes(mode, (samples.shape[1], samples.shape[0]), samples.tobytes())
    file.save(HERE / f"{name}.heic", **({"quality": -1, "chroma": 444} | options))
    return (HERE / f"{name}.heic").read_bytes()


def exif(orientation: int) -> bytes:
    """EXIF data that say how a picture is turned."""
    said = Image.Exif()
    said[274] = orientation
    return said.tobytes()


def main() -> None:
    """All of them; the photographs are scikit-image's."""
    import skimage.data

    light, opacity = ramps(), np.where(np.arange(WIDTH) < WIDTH // 2, 1.0, 0.5)[None, :, None].repeat(HEIGHT, 0)
    eight = np.rint(light * 255).astype(np.uint8)
    write("rgb8", eight, "RGB")
    write("rgb8-lossy", eight, "RGB", quality=90, chroma=420)
    write("rgb10", np.rint(light * 1023).astype("<u2") << 6, "RGB;16")
    write("rgba8", np.rint(np.concatenate([light, opacity], -1) * 255).astype(np.uint8), "RGBA")
    write("gray8", eight[..., 0], "L")
    write("gray10", np.rint(light[..., 0] * 1023).astype("<u2") << 6, "I;16")
    turned = write("irot-and-exif", eight, "RGB", exif=exif(6))
    (HERE / "irot.heic").write_bytes(turned.replace(exif(6), exif(1)))
    for name in ("astronaut", "coffee", "chelsea"):
        photograph = getattr(skimage.data, name)()
        side = min(photograph.shape[:2])
        square = Image.fromarray(np.ascontiguousarray(photograph[:side, :side]))
        small = square.resize((128, 128), Image.Resampling.BICUBIC)
        write(name, np.asarray(small), "RGB", quality=90, chroma=420)
    upright = write("exif", eight, "RGB", exif=exif(1))
    (HERE / "exif.heic").write_bytes(upright.replace(exif(1), exif(6)))


if __name__ == "__main__":
    main()
