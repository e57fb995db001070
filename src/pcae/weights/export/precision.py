"""ONNX files of smaller numbers: half precision, and eight bits by ONNX Runtime's static quantisation."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from pcae.model.pretrained import Pretrained
from pcae.settings.choices import Precision
from pcae.weights.export.deployed import Deployed, in_half
from pcae.weights.export.onnx_files import Onnx, write_graph
from pcae.weights.export.quantised import describe, quantise


class OnnxHalf(Onnx):
    """An ONNX file whose patch embedding and blocks are float16.

    What stays float32: the normalisation, every softmax, the scores that rank tokens and the means of dropped ones, and
    what follows the blocks: last norm, pooling and classifier.
    """

    precision: Precision = "fp16"

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """One self-contained file."""
        write_graph(Deployed(in_half(model), drop_ratio).eval(), model.facts, place, {"precision": self.precision})


class OnnxInt8(Onnx):
    """An ONNX file whose linear layers are int8, made of the same model's file in float32.

    calibration: uint8 images whose numbers set the ranges. data: what they are, in words.
    """

    precision: Precision = "int8"

    def __init__(self, plain: Path, calibration: Iterable[Tensor], data: str) -> None:
        self.plain, self.calibration, self.data = plain, list(calibration), data

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """One self-contained file, which names what it was calibrated on."""
        images = sum(map(len, self.calibration))
        quantise(self.plain, place, self.calibration)
        describe(place, {"precision": self.precision, "calibration": self.data, "calibration_images": images})
