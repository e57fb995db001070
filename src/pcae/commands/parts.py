"""A run's configuration, and the parts that are built from it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from tyro.conf import Positional, arg

from pcae.commands.report import bar
from pcae.data.augment import Normalise
from pcae.data.batches import (
    DataConfig,
    MicroBatches,
    check_data_config,
    default_workers,
    pixel_statistics,
    training_loader,
)
from pcae.data.images import Images, RandomCrops, open_images
from pcae.data.unreadable import BadFiles
from pcae.methods.pcae import PCAE, PCAEConfig
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig, build_encoder
from pcae.settings import to_plain
from pcae.training.checkpoint import Checkpoints, replace_text, restore
from pcae.training.distributed import World
from pcae.training.feed import feed
from pcae.training.folder import check_place, facts_of, find_checkpoint
from pcae.training.loop import Progress
from pcae.training.optimizer import OptimizerConfig, build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, RunConfig, plan
from pcae.training.randomness import Draw

BAD_FILES = "bad-files.jsonl"
"""Where a run folder names the files that could not be read."""
NEUTRAL = {
    "data", "out", "recipe", "config", "resume", "json", "device", "accumulation", "workers", "max_bad_files",
    "checkpoint_every", "keep_checkpoints", "log_every", "mean", "std",
}  # fmt: skip
"""Knobs that may change when a run goes on: how it is run, not what. A run knows its images by their names below DATA,
and mean and std are kept beside the settings."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Pre-train a Vision Transformer by PCAE on images without labels.

    DATA is a folder (flat or nested), a .txt or .csv list, `sample` or `fashion-mnist`. Flags come before
    --config FILE, that before --recipe NAME, that before the defaults, which are the paper's ViT-B.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder, .txt or .csv list, `sample` or `fashion-mnist`."""
    out: Path
    """Run folder; a run that stands there already goes on."""
    recipe: str | None = None
    """Named settings that the package ships: vit-ti-64, vit-s-224, imagenet-vit-b, ...; auto picks one that suits."""
    config: Path | None = None
    """YAML file of `name: value` lines, named as the flags are."""
    resume: str = "auto"
    """auto: go on from the folder's newest checkpoint. never: refuse a folder with a run. PATH: that checkpoint."""
    json: bool = False
    """Print the summary as JSON."""
    encoder: EncoderConfig = EncoderConfig()
    method: PCAEConfig = PCAEConfig()
    decoder: DecoderConfig = DecoderConfig()
    reading: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()


@dataclass(frozen=True)
class Parts:
    """What a run is made of, in the state that it starts or goes on from; `facts` go into every checkpoint."""

    config: Config
    images: Images
    numbers: Plan
    method: PCAE
    optimizer: torch.optim.AdamW
    progress: Progress
    facts: dict[str, Any]
    bad_files: BadFiles

    def save(self, here: World) -> None:
        """Write a checkpoint. Every process calls it, the main one writes."""
        self.progress.loss = here.mean(self.progress.loss)
        if here.is_main:
            checkpoints_of(self.config).save(self.method, self.optimizer, self.progress, self.facts)

    def settle_bad_files(self, here: World) -> None:
        """Tell all processes what any of them could not read, write it down, and stop the run when it is too much."""
        news = here.gather(self.bad_files.news)
        for failed in news:
            self.bad_files.found |= failed
        self.bad_files.news = {}
        if here.is_main and any(news):
            replace_text(self.config.out / BAD_FILES, self.bad_files.lines())
        self.bad_files.check()


def build_parts(config: Config, here: World) -> Parts:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them."""
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    channels, pixel_range = config.encoder.channels, config.reading.pixel_range
    images = here.main_first(lambda: open_images(config.data, "train", channels, pixel_range))
    check_place(config.out, config.data)
    numbers = plan(config.run, config.optimizer, len(images), here.size)
    config = replace(config, encoder=replace(config.encoder, channels=images.channels))
    torch.manual_seed(config.run.seed)
    method = PCAE(build_encoder(config.encoder), config.method, config.decoder).to(here.device)
    optimizer = build_optimizer(method, config.optimizer)
    progress = Progress(numbers.steps)
    bad_files = BadFiles(images, config.reading.max_bad_files)
    facts = go_on(config, images, method, optimizer, progress)
    here.check_same(progress.step, "step to go on from; is --out on storage that all of them share?")
    if progress.step and here.is_main:
        bad_files.look_again(config.out / BAD_FILES)
    if facts["mean"] is None:
        size = config.encoder.image_size
        found = here.from_main(lambda: pixel_statistics(images, size, bad_files, follow=bar("mean and std")))
        facts |= dict(zip(("mean", "std"), found, strict=True))
    reading = replace(config.reading, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
    return Parts(replace(config, reading=reading), images, numbers, method, optimizer, progress, facts, bad_files)


def checkpoints_of(config: Config) -> Checkpoints:
    """Where the run's checkpoints lie."""
    return Checkpoints(config.out / "checkpoints", config.run.keep_checkpoints)


def go_on(
    config: Config, images: Images, method: PCAE, optimizer: torch.optim.AdamW, progress: Progress
) -> dict[str, Any]:
    """Put the state of the checkpoint to go on from in place, if there is one; settings and the data's statistics."""
    settings = {name: value for name, value in to_plain(config).items() if name not in NEUTRAL}
    identity = {"images": len(images), "files": images.digest()}
    mean, std = config.reading.mean, config.reading.std
    checkpoint = find_checkpoint(checkpoints_of(config), config.resume, settings)
    settings |= identity
    if checkpoint is None:
        return {"settings": settings, "mean": mean and list(mean), "std": std and list(std)}
    facts = facts_of(checkpoint, settings)
    if mean and std and [*mean, *std] != [*facts["mean"], *facts["std"]]:
        raise ValueError(f"{checkpoint} has mean {facts['mean']} and std {facts['std']}, not {mean} and {std}")
    restore(checkpoint, method, optimizer, progress)
    return {"settings": settings, "mean": facts["mean"], "std": facts["std"]}


def batches(parts: Parts, here: World) -> Iterator[tuple[Tensor, Draw]]:
    """This process's part of the run's batches, from the step to go on from. Raises ValueError for wrong statistics."""
    config, images, numbers, start = parts.config, parts.images, parts.numbers, parts.progress.step
    reading, accumulation, seed = config.reading, config.run.accumulation, config.run.seed
    normalise = Normalise(parts.facts["mean"], parts.facts["std"], images.channels).to(here.device)
    crops = RandomCrops(images, config.encoder.image_size, reading.crop_scale, seed)
    order = MicroBatches(
        len(images), seed, numbers.batch_size, start, numbers.steps, here.rank, here.size, accumulation
    )
    workers = default_workers(here.device) if reading.workers is None else reading.workers
    return feed(
        training_loader(crops, order, workers, here.device),
        numbers,
        normalise,
        parts.bad_files,
        seed=seed,
        start=start,
        first_part=here.rank * accumulation,
        accumulation=accumulation,
        mirror=reading.flip,
        device=here.device,
    )
