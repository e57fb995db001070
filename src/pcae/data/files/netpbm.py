"""PBM, PGM, PPM, PAM and PFM by netpbmfile: white is the largest value that the file says."""

from functools import partial

import netpbmfile
import numpy as np

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import decoded
from pcae.data.files.stored import Alpha, Stored, kind_of


def read_netpbm(file: File) -> Stored:
    """The first picture of a file."""
    opened = netpbmfile.NetpbmFile(file)
    bands, floats = opened.depth or 1, opened.magicnumber in {"Pf", "PF"}
    dtype = np.dtype(opened.dtype)
    check_pixels(opened.width, opened.height, bands * opened.frames, dtype.itemsize)
    alpha: Alpha = "straight" if "ALPHA" in opened.tupltype else "none"
    return Stored(
        format="PNM",
        kind=kind_of(dtype, bands),
        size=(opened.width, opened.height),
        load=partial(load, opened, floats),
        photometric="white is zero" if opened.magicnumber in {"P1", "P4"} else "rgb" if bands >= 3 else "gray",
        white=None if floats else float(opened.maxval),
        alpha=alpha,
        opaque=True,
    )


def load(opened: netpbmfile.NetpbmFile, floats: bool) -> np.ndarray:
    """All samples, from the top row to the bottom one."""
    samples = decoded(lambda: opened.asarray()[0] if opened.frames > 1 else opened.asarray())
    return samples[::-1] if floats else samples
