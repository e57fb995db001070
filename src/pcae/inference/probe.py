"""TODO."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from timm.layers.attention import Attention

from pcae.data.images import Images
from pcae.data.tables.labelled import open_labelled
from pcae.data.unreadable import BadFiles
from pcae.evaluation.attentive import attentive_probe
from pcae.evaluation.frozen import Frozen, freeze, token_bytes
from pcae.evaluation.knn import check_k, knn_accuracies
from pcae.evaluation.linear import linear_probe
from pcae.evaluation.probes import Examples, Probed
from pcae.model.pretrained import Pretrained
from pcae.settings.choices import Pool, Probe
from pcae.settings.verbs.probe import ProbeConfig
from pcae.terminal import bar

Row = dict[str, Any]
"""What one probe found on one kind of features, as JSON has it."""


class Found(NamedTuple):
    """What the probes found; train and test are the encoded images, `seconds` is what encoding took."""

    rows: list[Row]
    train: Frozen
    test: Frozen
    seconds: float
    bad_files: list[BadFiles]


def measure(config: ProbeConfig, model: Pretrained) -> Found:
    """Encode every image once, and probe."""
    pools = pools_of(config, model)
    facts = model.facts
    whole = open_labelled(config.data, facts.encoder.channels, facts.pixel_range, config.validation)
    images = [at_most(some, config.most_images) for some in whole]
    if "knn" in config.probes:
        check_k(max(config.k), len(images[0]))
    bad_files = [BadFiles(some, config.max_bad_files) for some in images]
    started = time.perf_counter()
    train, test = encode(config, model, pools, bad_files)
    seconds = time.perf_counter() - started
    rows = [row for name in dict.fromkeys(config.probes) for row in PROBES[name](config, model, train, test)]
    return Found(rows, train, test, seconds, bad_files)


def check(config: ProbeConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    for name in ("probes", "k", "pool"):
        if getattr(config, name) == ():
            raise ValueError(f"{name} needs at least one value; leave the flag out for the default")
    if set(config.probes) == {"attentive"} and (config.pool or config.pixels):
        raise ValueError("pool and pixels are for the kNN and the linear probe; add --probes knn or linear")


def at_most(images: Images, most: int | None) -> Images:
    """The images, or so many of them, the same ones every time."""
    if most is None:
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images.without(order[most:].tolist())


def pools_of(config: ProbeConfig, model: Pretrained) -> list[Pool]:
    """The poolings, each once. Raises ValueError for the class token of a model that has none."""
    has_class_token = model.encoder.vit.cls_token is not None
    if config.pool is None:
        return ["mean", "cls"] if has_class_token else ["mean"]
    if "cls" in config.pool and not has_class_token:
        raise ValueError("pool cls needs a model with a class token; use --pool mean")
    return list(dict.fromkeys(config.pool))


def encode(config: ProbeConfig, model: Pretrained, pools: list[Pool], bad_files: list[BadFiles]) -> list[Frozen]:
    """Features of training and test images, in one pass through each."""
    size = token_bytes(model, sum(len(found.images) for found in bad_files))
    cache = "attentive" in config.probes and size <= config.token_gib * 2**30
    return [
        freeze(
            model,
            found,
            pools,
            pixels=config.pixels,
            cache_tokens=cache,
            workers=config.workers,
            follow=bar(f"encoding {name} images"),
        )
        for name, found in zip(("training", "test"), bad_files, strict=True)
    ]


def knn(config: ProbeConfig, model: Pretrained, train: Frozen, test: Frozen) -> Iterator[Row]:
    """A row for each kind of features and each k."""
    device = model.device
    labels = [frozen.labels.to(device) for frozen in (train, test)]
    for name in train.pooled:
        started = time.perf_counter()
        features = [frozen.pooled[name].values.to(device) for frozen in (train, test)]
        found = knn_accuracies(features[0], labels[0], features[1], labels[1], config.k)
        seconds = time.perf_counter() - started
        for k, accuracy in found.items():
            yield {"probe": "knn", "features": name, "k": k, "accuracy": accuracy, "seconds": seconds}


def linear(config: ProbeConfig, model: Pretrained, train: Frozen, test: Frozen) -> Iterator[Row]:
    """A row for each kind of features."""
    classes = len(train.images.classes)
    for name in train.pooled:
        parts = [Examples(frozen.pooled[name], frozen.labels) for frozen in (train, test)]
        found = linear_probe(parts[0], parts[1], classes, config.training, model.device, bar(f"linear probe, {name}"))
        yield {"probe": "linear", "features": name, **described(found)}


def attentive(config: ProbeConfig, model: Pretrained, train: Frozen, test: Frozen) -> Iterator[Row]:
    """One row: the query sees all patch tokens. It has as many heads as the encoder."""
    attention = next(part for part in model.encoder.vit.modules() if isinstance(part, Attention))
    heads = attention.num_heads
    parts = [Examples(frozen.tokens, frozen.labels) for frozen in (train, test)]
    classes = len(train.images.classes)
    found = attentive_probe(parts[0], parts[1], classes, heads, config.training, model.device, bar("attentive probe"))
    yield {"probe": "attentive", "features": "patch tokens", **described(found)}


PROBES: dict[Probe, Callable[[ProbeConfig, Pretrained, Frozen, Frozen], Iterator[Row]]] = {
    "knn": knn,
    "linear": linear,
    "attentive": attentive,
}


def described(found: Probed) -> Row:
    """What a trained probe found, with the sweep that chose its learning rate."""
    sweep = [{"learning_rate": rate, "held_out_accuracy": accuracy} for rate, accuracy in found.selection.items()]
    return {
        "accuracy": found.accuracy,
        "learning_rate": found.learning_rate,
        "sweep": sweep,
        "seconds": found.seconds,
    }
