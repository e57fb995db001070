"""What can be asked of some images: pictures, the most similar ones, and of one what is kept and its classes."""

from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from pcae.data.opened import Images
from pcae.data.unreadable import Batch
from pcae.evaluation.features import features_of
from pcae.evaluation.kept import Way, decide
from pcae.inference.evaluate import cost_of
from pcae.inference.predict import lines_of
from pcae.inference.trained import whole
from pcae.model.pretrained import Pretrained
from pcae.pages.dataset_page import in_small
from pcae.pages.html import picture_file
from pcae.pictures.stages import to_rgb
from pcae.search.exact import exact_neighbours, without
from pcae.search.rows import HeldRows, directions
from pcae.settings.choices import Pool
from pcae.settings.text import visible
from pcae.settings.trained import TrainedConfig
from pcae.settings.verbs.predict import PredictConfig

THUMBNAIL = 192
"""Longest side of a thumbnail in pixels."""
NEIGHBOURS = 24
"""Similar images that are named."""
UPLOADS = 32
"""Pictures of the visitor's own that are remembered, the latest ones."""
OWN = "your image"


class Upload(NamedTuple):
    """A picture of the visitor's, as the model takes it, and its features at length 1."""

    pixels: UInt8[Tensor, "channels height width"]
    features: Float32[np.ndarray, "1 dim"]


class Explored:
    """Images with their features, and the model. An image is named by its place; behind the last come uploads.

    features: a row an image. way: how tokens are dropped. Raises ValueError for features that are no numbers, and its
    methods for images that are not there. One thread at a time may ask: neither decoders nor models are made for more.
    """

    def __init__(
        self, model: Pretrained, images: Images, features: Float32[np.ndarray, "images dim"], way: Way, pool: Pool
    ) -> None:
        self.model, self.images, self.way = model, images, way
        self.pool: Pool = pool
        self.rows = HeldRows(directions(features))
        self.uploads: OrderedDict[int, Upload] = OrderedDict()
        self.next_upload = len(images)

    @cached_property
    def ratios(self) -> list[float]:
        """The places of the dial."""
        return self.way.ratios()

    def name(self, index: int) -> str:
        """What an image is called, as it may be shown."""
        return OWN if index in self.uploads else visible(self.images.short(self.known(index)))

    def known(self, index: int) -> int:
        """The place of one of the images."""
        if not 0 <= index < len(self.images):
            raise ValueError(f"there is no image {index}; choose it again")
        return index

    def thumbnail(self, index: int) -> bytes:
        """A small JPEG of one of the images."""
        return picture_file(in_small(self.images, self.known(index), THUMBNAIL), "jpeg", quality=80)

    def picture(self, index: int) -> bytes:
        """A PNG of an image as the model looks at it."""
        return picture_file(Image.fromarray(to_rgb(self.pixels(index)[None])[0].contiguous().numpy()), "png")

    def pixels(self, index: int) -> UInt8[Tensor, "channels height width"]:
        """An image as the model takes it."""
        if index in self.uploads:
            return self.uploads[index].pixels
        return whole(self.model, self.images)(self.known(index))

    def take_in(self, content: bytes) -> int:
        """The place of a picture of the visitor's, by all bytes of its file. Raises ValueError where it is none."""
        alone = replace(self.images, items=[content], names=[OWN], labels=None, said=None, label_sets=None)
        pixels = whole(self.model, alone)(0)
        features = features_of(self.model, Batch(pixels[None], [0], {}), self.pool)
        place, self.next_upload = self.next_upload, self.next_upload + 1
        self.uploads[place] = Upload(pixels, directions(features.numpy()))
        if len(self.uploads) > UPLOADS:
            self.uploads.popitem(last=False)
        return place

    def near(self, index: int) -> list[dict[str, Any]]:
        """The images most like one, by cosine similarity, the most similar first; it is none of them."""
        if index in self.uploads:
            found = exact_neighbours(self.rows, self.uploads[index].features, NEIGHBOURS)
        else:
            own = np.array([self.known(index)])
            found = without(exact_neighbours(self.rows, self.rows.values[own], NEIGHBOURS + 1), own)
        pairs = zip(found.rows[0].tolist(), found.similarity[0].tolist(), strict=True)
        return [{"image": row, "name": self.name(row), "similarity": round(value, 4)} for row, value in pairs]

    def looked_at(self, index: int, place: int) -> dict[str, Any]:
        """What is kept of an image at a place of the dial, and what a classifier says there and costs.

        fates: of each patch, after how many stages it is still there. left: patches at the input and after each stage.
        """
        if not 0 <= place < len(self.ratios):
            raise ValueError(f"the dial has {len(self.ratios)} places, got {place}")
        pixels, ratio = self.pixels(index), self.ratios[place]
        kept = decide(self.way, pixels[None], ratio, seed=0)
        rows, columns = self.model.encoder.grid
        found = {"fates": kept.fates(rows * columns)[0].tolist(), "left": [ids.shape[1] for ids in kept.left_ids()]}
        return found | (self.classified(pixels, ratio) if self.model.classes else {})

    def classified(self, pixels: UInt8[Tensor, "channels height width"], ratio: float) -> dict[str, Any]:
        """The likely classes of an image at a drop ratio, and 10^9 multiply-accumulates of an image there."""
        classifier = self.model.classifier(ratio)
        asked = PredictConfig(data="", model=TrainedConfig(weights=""))
        (line,) = lines_of(Batch(pixels[None], [0], {}), classifier, self.model, [OWN], asked)
        return {"top": line["top"], "gmacs": cost_of(classifier, self.model)["gmacs"]}
