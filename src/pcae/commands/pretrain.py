"""`pcae pretrain`: self-supervised pre-training on images without labels."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from tyro.conf import Positional, arg

from pcae.commands.report import as_json, console
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
from pcae.methods.pcae import PCAE, PCAEConfig
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig, build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings import build, check_values, layered, to_plain, to_yaml, without_rivals
from pcae.training.checkpoint import Checkpoints, replace_text, restore
from pcae.training.distributed import World, world
from pcae.training.feed import feed
from pcae.training.folder import facts_of, find_checkpoint, prepare
from pcae.training.journal import Journal
from pcae.training.loop import Progress, loop
from pcae.training.optimizer import OptimizerConfig, build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, RunConfig, autocast_dtype, plan
from pcae.training.randomness import Draw
from pcae.weights.files import FILE, save_encoder

NEUTRAL = {
    "out", "recipe", "config", "resume", "json", "device", "accumulation", "workers",
    "checkpoint_every", "keep_checkpoints", "log_every", "mean", "std",
}  # fmt: skip
"""Knobs that may change when a run goes on: how it is run, not what. Mean and std are kept beside the settings."""


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
    """Named settings that the package ships: sample, fashion-mnist, imagenet-vit-b, ..."""
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


def run(config: Config) -> None:
    """Pre-train, and say where everything lies."""
    with world(config.run.device) as here:
        summary = train(config, here)
        if here.is_main and config.json:
            as_json(summary)
        elif here.is_main:
            console.print(f"done: weights in {summary['weights']}, everything else beside it")


def pretrain(data: str | Path, out: str | Path, recipe: str | None = None, **knobs: Any) -> dict[str, Any]:
    """Pre-train on `data` into the run folder `out`, as `pcae pretrain` does; returns the summary of the run.

    knobs: the command's flags with underscores, such as model="vit_small_patch16_224", epochs=100, batch_size=256.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    given = {name: value for name, value in knobs.items() if name != "config"}
    values = without_rivals(layered(Config, recipe, knobs.get("config")), given)
    values |= check_values(Config, {"data": str(data), "out": str(out), "recipe": recipe, **given}, "pretrain")
    config = build(Config, values)
    with world(config.run.device) as here:
        return train(config, here)


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

    def save(self, here: World) -> None:
        """Write a checkpoint. Every process calls it, the main one writes."""
        self.progress.loss = here.mean(self.progress.loss)
        if here.is_main:
            checkpoints_of(self.config).save(self.method, self.optimizer, self.progress, self.facts)


def train(config: Config, here: World) -> dict[str, Any]:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run."""
    parts = build_parts(config, here)
    numbers, start, started = parts.numbers, parts.progress.step, time.perf_counter()
    if start == numbers.steps and (config.out / "summary.json").is_file():
        return json.loads((config.out / "summary.json").read_text(encoding="utf-8"))
    stream = batches(parts, here)
    if here.is_main:
        prepare(config.out, to_yaml(parts.config))
        announce(parts, here)
    with Journal(config.out, numbers, start, here, console) as journal:
        loop(
            here.wrap(parts.method),
            stream,
            parts.optimizer,
            numbers.learning_rate,
            parts.progress,
            [(config.run.log_every, journal.write), (config.run.checkpoint_every, lambda _: parts.save(here))],
            accumulation=config.run.accumulation,
            clip_grad=config.optimizer.clip_grad,
            autocast=autocast_dtype(config.run.precision, here.device),
        )
    if start == numbers.steps:
        parts.save(here)
    return finish(parts, here, time.perf_counter() - started, start)


def build_parts(config: Config, here: World) -> Parts:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them."""
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    images = here.main_first(lambda: open_images(config.data, "train", config.encoder.channels))
    numbers = plan(config.run, config.optimizer, len(images), here.size)
    config = replace(config, encoder=replace(config.encoder, channels=images.channels))
    torch.manual_seed(config.run.seed)
    method = PCAE(build_encoder(config.encoder), config.method, config.decoder).to(here.device)
    optimizer = build_optimizer(method, config.optimizer)
    progress = Progress(numbers.steps)
    facts = start_or_resume(config, images, method, optimizer, progress)
    here.check_same(progress.step, "step to go on from; is --out on storage that all of them share?")
    reading = replace(config.reading, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
    return Parts(replace(config, reading=reading), images, numbers, method, optimizer, progress, facts)


def checkpoints_of(config: Config) -> Checkpoints:
    """Where the run's checkpoints lie."""
    return Checkpoints(config.out / "checkpoints", config.run.keep_checkpoints)


def start_or_resume(
    config: Config, images: Images, method: PCAE, optimizer: torch.optim.AdamW, progress: Progress
) -> dict[str, Any]:
    """Put the state of the checkpoint to go on from in place, if there is one; settings and the data's statistics."""
    settings = {name: value for name, value in to_plain(config).items() if name not in NEUTRAL}
    settings |= {"images": len(images), "files": images.digest()}
    mean, std = config.reading.mean, config.reading.std
    checkpoint = find_checkpoint(checkpoints_of(config), config.resume)
    if checkpoint:
        facts = facts_of(checkpoint, settings)
        if mean and std and [*mean, *std] != [*facts["mean"], *facts["std"]]:
            raise ValueError(f"{checkpoint} has mean {facts['mean']} and std {facts['std']}, not {mean} and {std}")
        restore(checkpoint, method, optimizer, progress)
        return {"settings": settings, "mean": facts["mean"], "std": facts["std"]}
    if mean is None or std is None:
        mean, std = pixel_statistics(images, config.encoder.image_size)
    return {"settings": settings, "mean": list(mean), "std": list(std)}


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
        seed=seed,
        start=start,
        first_part=here.rank * accumulation,
        accumulation=accumulation,
        mirror=reading.flip,
        device=here.device,
    )


def announce(parts: Parts, here: World) -> None:
    """Print, before the first step, what the run comes to."""
    numbers, method = parts.numbers, parts.method
    grid, start = method.student.grid, parts.progress.step
    millions = sum(parameter.numel() for parameter in method.student.parameters()) / 1e6
    console.print(
        f"{numbers.images} images, {numbers.steps} steps of {numbers.batch_size} = {numbers.epochs:.4g} epochs "
        f"({numbers.images / numbers.batch_size:.4g} steps an epoch); {here.size} x {here.device}, "
        f"micro-batches of {numbers.micro_batch}"
    )
    console.print(f"learning rate up to {numbers.peak_lr:.3g} over {numbers.warmup_steps} steps, then down to 0")
    if numbers.warmup_steps >= numbers.steps:
        console.print("[yellow]the warm-up is longer than the run: the learning rate stays below its peak[/]")
    console.print(
        f"encoder of {millions:.1f} M parameters, {grid[0]} x {grid[1]} tokens: {method.n_visible} visible; "
        f"{' -> '.join(map(str, method.counts))} in the teacher"
    )
    if start:
        console.print(f"going on from step {start}")


def finish(parts: Parts, here: World, seconds: float, start: int) -> dict[str, Any]:
    """Write the encoder and the summary of the run; speed and seconds are those of this start."""
    config, numbers, progress, facts = parts.config, parts.numbers, parts.progress, parts.facts
    summary = {
        "weights": str(config.out / FILE),
        "images": numbers.images,
        "steps": progress.step,
        "epochs": numbers.epochs,
        "skipped": int(progress.skipped),
        "loss": float(progress.loss),
        "seconds": seconds,
        "images_per_second": (progress.step - start) * numbers.batch_size / seconds,
        "data_wait_share": progress.waited / seconds,
    }
    if here.is_main:
        described = PretrainedFacts(encoder=config.encoder, mean=facts["mean"], std=facts["std"])
        save_encoder(config.out / FILE, parts.method.student, described)
        replace_text(config.out / "summary.json", json.dumps(summary, indent=2))
    return summary
