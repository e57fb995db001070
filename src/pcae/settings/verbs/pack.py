"""What `pcae pack` is told."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from pcae.settings.bounds import AnyData, Count, Natural, Share, Written
from pcae.settings.choices import Form, Split


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Decode and shrink every image once. What is killed goes on when the same is asked for again.

    The folder has the splits, names, labels and order of DATA; `pcae check-data OUT` reads it against its checksums.
    """

    EXAMPLES = ("photos photos-256", "photos photos-jpeg --form jpeg --quality 95")

    data: AnyData
    """Folder, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    out: Written
    """The folder to write."""
    form: Form = "pixels"
    """pixels: 8-bit values of images of one size, the fastest to read. jpeg: the smallest, for 1 or 3 channels."""
    side: Count | None = None
    """Pixels of a side; without it, 256. jpeg: of the shorter side, which is only shrunk. pixels: of both."""
    image_size: tuple[Count, Count] | None = None
    """Height and width of pixels, which images are resized to cover; without it, side x side."""
    quality: Annotated[int, Interval(ge=1, le=100)] | None = None
    """Quality of jpeg, 1 to 100; without it, 90."""
    channels: int | None = None
    """Channels to keep; without it, 1 for `sample` and `fashion-mnist`, 3 for image files."""
    pixel_range: tuple[float, float] | None = None
    """Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1."""
    bands: tuple[Count, ...] | None = None
    """Which bands of a file become the channels, from 1, in their order, such as 4 3 2; without it, all of them."""
    split: Split | None = None
    """The only split to pack, where DATA has several; without it, all."""
    max_bad_files: Share = 0.05
    """Share of a split's images that may be unreadable, in [0, 1); they are left out and named."""
    workers: Natural | None = None
    """Processes that decode images; without it, as many as there are cores."""
    json: bool = False
    """Print what was packed as JSON."""
