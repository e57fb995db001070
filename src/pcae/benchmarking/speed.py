"""`pcae benchmark` as one call: what a mode measures, checked before any work, and written where that is asked for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from pcae.benchmarking.entries import ENTRIES, Batches, Conditions, Entry
from pcae.benchmarking.measurements import described, measure_inference, measure_loader, measure_training
from pcae.benchmarking.table import write
from pcae.data.batches import MicroBatches, check_data_config, pixel_statistics, training_workers
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.throughput import large_batch
from pcae.model.encoder import check_sizes
from pcae.runs.batches import read_batches
from pcae.runs.compiling import compiling
from pcae.settings.bounds import check_bounds
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig
from pcae.settings.values import flatten
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.terminal import bar, console
from pcae.training.distributed import World, pick_device
from pcae.training.plan import MOST_STEPS, WORTH_COMPILING, autocast_dtype
from pcae.writing import check_writable

ON_ACCELERATORS = 10
"""Steps of a turn where one is too short to be timed alone."""
AHEAD = 4
"""Steps of a turn for each reading process, which has two batches ready when the turn begins."""
INFERENCE = {"drop_ratios", "batch_sizes"}
TRAINING = {"rows", "against", *flatten(DecoderConfig())}
INAPPLICABLE: dict[str, set[str]] = {
    "train": INFERENCE,
    "loader": INFERENCE
    | TRAINING
    | {"precision", "compile", "grad_checkpointing"}
    | (flatten(EncoderConfig()).keys() - {"image_size", "channels"}),
    "inference": TRAINING | {"data", "batch_size", "grad_checkpointing", *flatten(DataConfig())},
}
"""Settings that a mode does not have."""


def measure_speed(config: BenchmarkConfig, entries: Sequence[Entry] | None = None) -> dict[str, Any]:
    """What the mode measures, and on what, as JSON has it. Raises ValueError for what cannot be, before any work.

    entries: rows of training, other than those that the settings name.
    """
    entries = entries_of(config) if entries is None else entries
    check(config, entries)
    console.print("measuring, all rows taking turns: nothing else should run now")
    device = pick_device(config.device)
    conditions = conditions_of(config, device)
    if config.mode == "inference":
        found = measure_inference(config.drop_ratios, config.batch_sizes or (1, large_batch(device)), conditions)
    elif config.data is None:
        found = measure_training(entries, config.against, conditions, None)
    else:
        conditions, found = measure_reading(config, entries, conditions)
    title = f"{title_of(config)}, {device.type}"
    found = {"title": title, "mode": config.mode, "data": config.data, **described(conditions), **found}
    if config.out is not None:
        write(config.out, found)
    return found


def entries_of(config: BenchmarkConfig) -> list[Entry]:
    """The rows of training that the settings name. Raises ValueError for those that are measured elsewhere."""
    checkouts = {"--mae-repo": config.mae_repo, "--pcae-repo": config.pcae_repo}
    asked = [*config.rows, config.against, *(name for name, root in checkouts.items() if root is not None)]
    for name in asked:
        if name not in ENTRIES:
            raise ValueError(
                f"{name} is other people's code, which benchmarks/peers.py measures beside our rows; in a clone of the "
                "repository: python benchmarks/peers.py --help"
            )
    return [ENTRIES[name] for name in config.rows]


def check(config: BenchmarkConfig, entries: Sequence[Entry]) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_bounds(config)
    check_mode(config)
    if config.encoder.patch_scale != 1:
        raise ValueError(f"patch_scale {config.encoder.patch_scale:g} does not change the speed; leave it out")
    check_sizes(config.encoder)
    check_data_config(config.reading)
    if config.mode == "train":
        check_entries(config, entries)
    if config.mode == "inference":
        check_inference(config)
    if config.out is not None:
        check_writable(config.out, ".json")


def check_mode(config: BenchmarkConfig) -> None:
    """Raise ValueError for a setting that the mode does not have, or that is for DATA where there is none."""
    values, usual = flatten(config), flatten(BenchmarkConfig())
    told = [name for name, value in values.items() if value != usual[name]]
    for name in told:
        if name in INAPPLICABLE[config.mode]:
            raise ValueError(f"{name} {words(values[name])} is no setting of mode {config.mode}; leave it out")
        if config.data is None and name in flatten(DataConfig()):
            raise ValueError(f"{name} {words(values[name])} is for reading images; give --data DATA, or leave it out")
    if config.mode == "loader" and config.data is None:
        raise ValueError("mode loader reads images; give --data DATA")


def words(value: Any) -> str:
    """A setting as it is written on the command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def check_entries(config: BenchmarkConfig, entries: Sequence[Entry]) -> None:
    """Raise ValueError for rows that cannot be."""
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise ValueError("rows has a name twice; give each once")
    if config.against not in names:
        raise ValueError(f"against {config.against} is not among the rows {', '.join(names) or '(none)'}")


def check_inference(config: BenchmarkConfig) -> None:
    """Raise ValueError for drop ratios and batch sizes that cannot be; a ratio alone is judged by the reduction."""
    for name in ("drop_ratios", "batch_sizes"):
        values = getattr(config, name) or ()
        if len(set(values)) < len(values):
            raise ValueError(f"{name} has a value twice: {words(values)}")
    if 0 not in config.drop_ratios:
        raise ValueError(f"drop_ratios must have 0, which others are held against, got {words(config.drop_ratios)}")


def conditions_of(config: BenchmarkConfig, device: torch.device) -> Conditions:
    """What all rows share."""
    usual = 1 if device.type == "cpu" else ON_ACCELERATORS
    ahead = 0 if config.data is None else AHEAD * training_workers(config.reading, device)
    return Conditions(
        encoder=config.encoder,
        decoder=config.decoder,
        batch_size=config.batch_size,
        steps=config.steps or max(usual, ahead),
        rounds=config.rounds,
        device=device,
        autocast=autocast_dtype(config.precision, device),
        compiled=compiling(config.compile, WORTH_COMPILING, World(0, 1, device)),
        grad_checkpointing=config.grad_checkpointing,
    )


def measure_reading(
    config: BenchmarkConfig, entries: Sequence[Entry], conditions: Conditions
) -> tuple[Conditions, dict[str, Any]]:
    """The loader alone, or training on what it reads; and the conditions, with the channels of the images."""
    assert config.data is not None
    reading = config.reading
    channels, pixel_range = config.encoder.channels, reading.pixel_range
    images = open_images(config.data, "train", channels, pixel_range, reading.stream, reading.bands)
    conditions = replace(conditions, encoder=replace(config.encoder, channels=images.channels))
    bad_files = BadFiles(images, config.reading.max_bad_files)
    batches = endless(bad_files, config.reading, conditions)
    if config.mode == "loader":
        found = measure_loader(conditions, batches)
    else:
        found = measure_training(entries, config.against, conditions, batches)
    bad_files.check()
    if bad_files.found:
        console.print(f"{bad_files.describe()}; others took their place")
    return conditions, found | {"workers": training_workers(config.reading, conditions.device)}


def endless(bad_files: BadFiles, reading: DataConfig, conditions: Conditions) -> Batches:
    """Batches as pretrain reads them, by the data's own statistics where none are given."""
    images, size, batch = bad_files.images, conditions.encoder.image_size, conditions.batch_size
    if reading.mean is None:
        mean, std = pixel_statistics(images, size, bad_files, follow=bar("mean and std"))
        reading = replace(reading, mean=tuple(mean), std=tuple(std))
    own = MicroBatches(len(images), 0, batch, 0, int(MOST_STEPS), 0, 1, 1)
    crops = RandomCrops(images, size, reading.crop_scale, seed=0)
    return read_batches(crops, own, reading, bad_files, conditions.device)


def title_of(config: BenchmarkConfig) -> str:
    """What is measured, in words."""
    size = " x ".join(map(str, config.encoder.image_size))
    if config.mode == "inference":
        return f"Inference of {config.encoder.model} at {size}"
    what = f"Training {config.encoder.model}" if config.mode == "train" else f"Reading {config.data}"
    source = f" from {config.data}" if config.mode == "train" and config.data else ""
    return f"{what}{source} at {size}, batch {config.batch_size}"
