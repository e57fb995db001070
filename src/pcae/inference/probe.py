"""How good the features of an encoder are: what probes of them find on held-out images."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pcae.data.images import Images
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.split_off import check_split, open_split
from pcae.data.unreadable import BadFiles
from pcae.evaluation.attentive import attentive_probe
from pcae.evaluation.frozen import Frozen, freeze, token_bytes
from pcae.evaluation.knn import check_k, knn_accuracies
from pcae.evaluation.linear import linear_probe
from pcae.evaluation.probes import Examples, Probed
from pcae.inference.trained import at_most, open_trained, say_left_out
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.results import Block, Result, Table
from pcae.settings.bounds import check_bounds
from pcae.settings.choices import Pool, Probe
from pcae.settings.values import to_plain
from pcae.settings.verbs.probe import ProbeConfig
from pcae.terminal import bar

Row = dict[str, Any]
"""What one probe found on one kind of features, as JSON has it."""


@dataclass(frozen=True, repr=False)
class ProbeResults(Result):
    """What the probes found. images: how many were encoded, for training and for the test."""

    images: dict[str, int]
    classes: list[str]
    encoding_seconds: float
    probes: list[Row]
    bad_files: dict[str, str]
    settings: dict[str, Any]

    def blocks(self) -> list[Block]:
        """The accuracies."""
        images = f"{self.images['train']} training and {self.images['test']} test images"
        columns = ["probe", "features", "learning rate", "top-1 in %"]
        return [Table(f"{images} of {len(self.classes)} classes", columns, [in_cells(row) for row in self.probes])]

    def records(self) -> list[dict[str, Any]]:
        """A row for each probe, without the sweep that chose its learning rate."""
        return [{name: value for name, value in row.items() if name != "sweep"} for row in self.probes]


def in_cells(row: Row) -> list[str]:
    """A row of the table."""
    name = f"kNN, k={row['k']}" if row["probe"] == "knn" else row["probe"]
    rate = f"{row['learning_rate']:g}" if "learning_rate" in row else ""
    return [name, row["features"], rate, f"{100 * row['accuracy']:.1f}"]


def probe_features(config: ProbeConfig) -> ProbeResults:
    """Probe a trained model. Raises ValueError for what cannot be, and when too many images cannot be read."""
    check(config)
    return probe_model(config, open_trained(config.model))


def probe_model(config: ProbeConfig, model: Pretrained) -> ProbeResults:
    """Encode every image once, and probe."""
    pools, facts = pools_of(config, model), model.facts
    whole = open_both(config, facts)
    images = [at_most(some, config.most_images) for some in whole]
    if "knn" in config.probes:
        check_k(max(config.k), len(images[0]))
    bad_files = [BadFiles(some, config.max_bad_files) for some in images]
    started = time.perf_counter()
    train, test = encode(config, model, pools, bad_files)
    seconds = time.perf_counter() - started
    rows = [row for name in dict.fromkeys(config.probes) for row in PROBES[name](config, model, train, test)]
    for some in bad_files:
        say_left_out(some)
    counts, classes = {"train": len(train.images), "test": len(test.images)}, list(train.images.classes)
    by_name = bad_files[0].by_name() | bad_files[1].by_name()
    return ProbeResults(counts, classes, seconds, rows, by_name, to_plain(config))


def open_both(config: ProbeConfig, facts: PretrainedFacts) -> tuple[Images, Images]:
    """Training and held-out images, as the model takes them."""
    channels, pixel_range, bands = facts.encoder.channels, facts.pixel_range, facts.bands
    if config.split.val_fraction is not None:
        return open_split(config.data, config.split, config.training.seed, channels, pixel_range, bands)
    return open_labelled(config.data, channels, pixel_range, config.validation, bands)


def check(config: ProbeConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_bounds(config)
    check_split(config.split, config.validation)
    for name in ("probes", "k", "pool"):
        if getattr(config, name) == ():
            raise ValueError(f"{name} needs at least one value; leave the flag out for the default")
    if set(config.probes) == {"attentive"} and (config.pool or config.pixels):
        raise ValueError("pool and pixels are for the kNN and the linear probe; add --probes knn or linear")


def pools_of(config: ProbeConfig, model: Pretrained) -> list[Pool]:
    """The poolings, each once. Raises ValueError for the class token of a model that has none."""
    has_class_token = model.encoder.has_class_token
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
    labels = [frozen.labels.to(model.device) for frozen in (train, test)]
    for name in train.pooled:
        started = time.perf_counter()
        features = [frozen.pooled[name].values.to(model.device) for frozen in (train, test)]
        found = knn_accuracies(features[0], labels[0], features[1], labels[1], config.k)
        seconds = time.perf_counter() - started
        for k, accuracy in found.items():
            yield {"probe": "knn", "features": name, "k": k, "accuracy": accuracy, "seconds": seconds}


def linear(config: ProbeConfig, model: Pretrained, train: Frozen, test: Frozen) -> Iterator[Row]:
    """A row for each kind of features."""
    classes = len(train.images.classes)
    for name in train.pooled:
        fitted, held_out = (Examples(frozen.pooled[name], frozen.labels) for frozen in (train, test))
        follow = bar(f"linear probe, {name}")
        yield row_of("linear", name, linear_probe(fitted, held_out, classes, config.training, model.device, follow))


def attentive(config: ProbeConfig, model: Pretrained, train: Frozen, test: Frozen) -> Iterator[Row]:
    """One row: the query sees all patch tokens. It has as many heads as the encoder."""
    heads = model.encoder.heads
    fitted, held_out = (Examples(frozen.tokens, frozen.labels) for frozen in (train, test))
    classes, follow = len(train.images.classes), bar("attentive probe")
    found = attentive_probe(fitted, held_out, classes, heads, config.training, model.device, follow)
    yield row_of("attentive", "patch tokens", found)


PROBES: dict[Probe, Callable[[ProbeConfig, Pretrained, Frozen, Frozen], Iterator[Row]]] = {
    "knn": knn,
    "linear": linear,
    "attentive": attentive,
}


def row_of(probe: Probe, features: str, found: Probed) -> Row:
    """What a trained probe found, with the sweep that chose its learning rate."""
    return {
        "probe": probe,
        "features": features,
        "accuracy": found.accuracy,
        "learning_rate": found.learning_rate,
        "sweep": [{"learning_rate": rate, "held_out_accuracy": share} for rate, share in found.selection.items()],
        "seconds": found.seconds,
    }
