"""A classifier for browsers: a graph for each drop ratio of the dial, and one file of weights that all share."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from pcae.model import criteria
from pcae.model.pretrained import Pretrained
from pcae.model.reduced import reduce
from pcae.model.reduction import kept_counts
from pcae.weights.export.deployed import NOT_EXPORTED
from pcae.weights.export.format import Part
from pcae.weights.export.onnx_files import Onnx
from pcae.weights.export.onnxruntime_web import VERSION
from pcae.weights.reading import read_json

DIAL = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Drop ratios that the dial has in any case."""
FACTS, WEIGHTS = "model.json", "weights.bin"
"""What the page reads of the model, and its tensors."""
SMALL = 1024
"""Bytes below which a tensor stays in its graph."""
ALIGNED = 64
"""Bytes at whose multiples tensors begin."""
LARGEST = 2**30
"""Bytes of weights of which a browser can hold two copies."""
CHANNELS = (1, 3)
"""Channels that browsers make of any picture."""


@dataclass
class SharedTensors:
    """A file to which tensors are written, each content once. places: where it stands, by content."""

    file: BinaryIO
    places: dict[bytes, int] = field(default_factory=dict)

    def place(self, content: bytes) -> int:
        """Where a content stands in the file; it is written where it is new."""
        key = hashlib.sha256(content).digest()
        if key not in self.places:
            self.file.write(bytes(-self.file.tell() % ALIGNED))
            self.places[key] = self.file.tell()
            self.file.write(content)
        return self.places[key]


class Web(Onnx):
    """A folder with graphs for ONNX Runtime in browsers, their weights, and what a page has to know."""

    suffix = None

    def check(self, model: Pretrained) -> None:
        """Raise ValueError, with the remedy, for what a browser cannot read, show or hold."""
        facts = model.facts
        channels = facts.encoder.channels or 3
        if facts.classes is None:
            raise ValueError("--to web shows classes, the weights are an encoder without a classifier; use --to onnx")
        if channels not in CHANNELS:
            raise ValueError(f"browsers read 1 or 3 channels, the weights are for {channels}; use --to onnx")
        if facts.bands is not None and facts.bands != tuple(range(1, channels + 1)):
            raise ValueError(f"browsers do not read bands {list(facts.bands)} of a file; use --to onnx")
        if facts.rule.criterion in NOT_EXPORTED:
            raise ValueError(f"criterion {facts.rule.criterion} is in no graph; give another --criterion")
        size = sum(value.numel() * value.element_size() for value in model.encoder.vit.state_dict().values())
        if size > LARGEST:
            raise ValueError(f"a browser holds weights of 1 GiB, these have {size / 2**30:.2f}; use --to onnx")

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write the weights, the graphs and the facts; the page begins at `drop_ratio`."""
        graphs = {ratio: graph_name(ratio) for ratio in dial(model, drop_ratio)}
        with (place / WEIGHTS).open("wb") as file:
            shared = SharedTensors(file)
            for ratio, name in graphs.items():
                super().write(model, ratio, place / name)
                share(place / name, shared)
        said = facts_of(model) | {"start": drop_ratio, "bytes": (place / WEIGHTS).stat().st_size}
        dialled = [{"ratio": ratio, "file": name, "kept": kept(model, ratio)} for ratio, name in graphs.items()]
        (place / FACTS).write_text(json.dumps(said | {"graphs": dialled}, indent=1), encoding="utf-8")

    def parts(self, model: Pretrained, drop_ratio: float, place: Path) -> list[Part]:
        """Every graph of the dial."""
        return [Part(Onnx(), graph["ratio"], place / graph["file"]) for graph in read_json(place / FACTS)["graphs"]]

    def remarks(self, model: Pretrained) -> list[str]:
        """What a browser makes of pictures otherwise."""
        deep = model.facts.pixel_range is not None
        return ["browsers make 8 bits of deeper pictures, and pixel_range has no say in that"] if deep else []

    def said(self, place: Path) -> dict[str, Any]:
        """How its graphs answer."""
        found = read_json(place / FACTS)
        return {"drop_ratio": found["start"], "rule": found["rule"]}


def graph_name(ratio: float) -> str:
    """The file of a drop ratio's graph."""
    return f"drop-{ratio:g}.onnx"


def dial(model: Pretrained, asked: float) -> list[float]:
    """The drop ratios: the one asked for, and of the dial's and the fine-tuning's those at which it can drop."""
    fixed = {ratio for ratio in (*DIAL, *model.facts.drop_ratios) if ratio == asked or can_drop(model, ratio)}
    return sorted(fixed | {asked})


def can_drop(model: Pretrained, ratio: float) -> bool:
    """Whether the rule can drop such a share of the patches at every stage, and any is left."""
    reduced = reduce(model.encoder.vit, ratio, **vars(model.facts.rule))
    return criteria.can_drop(prod(model.encoder.grid), reduced.reduction, reduced.num_prefix_tokens)


def kept(model: Pretrained, ratio: float) -> dict[int, int]:
    """Patches that are left after each block that drops any. Raises ValueError where none is."""
    if not ratio:
        return {}
    return kept_counts(prod(model.encoder.grid), reduce(model.encoder.vit, ratio, **vars(model.facts.rule)).reduction)


def share(path: Path, shared: SharedTensors) -> None:
    """Move the tensors of a graph into the file that it shares with others."""
    import onnx
    from onnx.external_data_helper import set_external_data

    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        content = tensor.raw_data
        if len(content) >= SMALL:
            set_external_data(tensor, WEIGHTS, offset=shared.place(content), length=len(content))
            tensor.ClearField("raw_data")
    path.write_bytes(graph.SerializeToString())


def facts_of(model: Pretrained) -> dict[str, Any]:
    """What the page says of the model, and how it reads pictures."""
    facts = model.facts
    return {
        "pcae": version("pcae"),
        "onnxruntime_web": VERSION,
        "classes": facts.classes,
        "multi_label": facts.multi_label,
        "image_size": facts.encoder.image_size,
        "channels": facts.encoder.channels or 3,
        "crop_pct": facts.crop_pct,
        "rule": asdict(facts.rule),
        "grid": model.encoder.grid,
        "weights": WEIGHTS,
    }
