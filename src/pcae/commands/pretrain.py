"""`pcae pretrain`: self-supervised pre-training on images without labels."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pcae.commands.advice import Advice, advise, typical_side
from pcae.commands.parts import BAD_FILES, Config, Parts, batches, build_parts
from pcae.commands.report import as_json, console, warn
from pcae.data.images import open_images
from pcae.model.pretrained import PretrainedFacts
from pcae.settings import AUTO, at_home, build, check_values, layered, recipe_names, to_yaml, without_rivals
from pcae.training.checkpoint import replace_text
from pcae.training.distributed import World, pick_device, world
from pcae.training.folder import cleared_on_failure, config_of, prepare
from pcae.training.journal import Journal
from pcae.training.loop import loop
from pcae.training.plan import autocast_dtype
from pcae.weights.files import FILE, save_encoder


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
    flags = {name: value for name, value in knobs.items() if name != "config"}
    flags |= {"data": str(data), "out": str(out)} | ({"recipe": recipe} if recipe else {})
    config = configure(flags, knobs.get("config"))
    if config.recipe == AUTO:
        config = configure(flags, knobs.get("config"), choose_recipe(config))
    with world(config.run.device) as here:
        return train(config, here)


def configure(flags: dict[str, Any], file: Path | None, picked: str | None = None) -> Config:
    """Flags over a file over a recipe; `picked` stands for the recipe auto."""
    values = without_rivals(layered(Config, flags.get("recipe"), file, picked), flags)
    values |= check_values(Config, flags, "pretrain") | ({"recipe": picked} if picked else {})
    return at_home(build(Config, values))


def choose_recipe(config: Config) -> str:
    """What `--recipe auto` stands for: the recipe of the run in the folder, else what suits; says which, and why."""
    advice = recorded_recipe(config.out)
    if advice is None:
        images = open_images(config.data, "train", config.encoder.channels, config.reading.pixel_range)
        advice = advise(config.data, len(images), typical_side(images), pick_device(config.run.device))
    if os.environ.get("RANK", "0") == "0":
        console.print(f"recipe auto: {advice.recipe} ({advice.reason})")
    return advice.recipe


def recorded_recipe(folder: Path) -> Advice | None:
    """The recipe of the run that stands in a folder."""
    recipe = config_of(folder).get("recipe")
    return Advice(recipe, f"that of the run in {folder}") if recipe in recipe_names() else None


def train(config: Config, here: World) -> dict[str, Any]:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run."""
    parts = build_parts(config, here)
    numbers, start, started = parts.numbers, parts.progress.step, time.perf_counter()
    if start == numbers.steps and (config.out / "summary.json").is_file():
        return json.loads((config.out / "summary.json").read_text(encoding="utf-8"))
    stream = batches(parts, here)
    with ExitStack() as stack:
        if here.is_main:
            stack.enter_context(cleared_on_failure(config.out, lambda: parts.progress.step == start))
            prepare(config.out, to_yaml(parts.config))
            announce(parts, here)
        journal = stack.enter_context(Journal(config.out, numbers, start, here, console))
        loop(
            here.wrap(parts.method),
            stream,
            parts.optimizer,
            numbers.learning_rate,
            parts.progress,
            [
                (config.run.log_every, journal.write),
                (config.run.checkpoint_every, lambda _: parts.save(here)),
                (config.run.log_every, lambda _: parts.settle_bad_files(here)),
            ],
            accumulation=config.run.accumulation,
            clip_grad=config.optimizer.clip_grad,
            autocast=autocast_dtype(config.run.precision, here.device),
        )
    if start == numbers.steps:
        parts.save(here)
    return finish(parts, here, time.perf_counter() - started, start)


def announce(parts: Parts, here: World) -> None:
    """Print, before the first step, what the run comes to."""
    numbers, method = parts.numbers, parts.method
    grid, start, per_epoch = method.student.grid, parts.progress.step, numbers.images / numbers.batch_size
    millions = sum(parameter.numel() for parameter in method.student.parameters()) / 1e6
    console.print(
        f"{numbers.images} images, {numbers.steps} steps of {numbers.batch_size} = {numbers.epochs:.4g} epochs "
        f"({per_epoch:.4g} steps an epoch)"
    )
    if parts.images.others:
        left = ", ".join(f"{count} {suffix}" for suffix, count in sorted(parts.images.others.items()))
        console.print(f"left out, not being images: {left}")
    console.print(
        f"effective batch {numbers.batch_size} = {here.size} x {here.device} x {parts.config.run.accumulation} "
        f"micro-batches of {numbers.micro_batch}"
    )
    console.print(f"learning rate up to {numbers.peak_lr:.3g} over {numbers.warmup_steps} steps, then down to 0")
    if numbers.warmup_steps >= numbers.steps:
        warn("the warm-up is longer than the run: the learning rate stays below its peak")
    if per_epoch < 1:
        warn(
            f"a step of {numbers.batch_size} shows each of the {numbers.images} images {1 / per_epoch:.3g} times; "
            "a smaller --batch-size makes more steps of the same work, see --recipe auto"
        )
    console.print(
        f"encoder of {millions:.1f} M parameters; tokens per image: {grid[0]} x {grid[1]} = {grid[0] * grid[1]}, "
        f"{method.n_visible} visible; {' -> '.join(map(str, method.counts))} in the teacher"
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
        "bad_files": len(parts.bad_files.found),
        "seconds": seconds,
        "images_per_second": (progress.step - start) * numbers.batch_size / seconds,
        "data_wait_share": progress.waited / seconds,
    }
    if here.is_main:
        described = PretrainedFacts(
            encoder=config.encoder, mean=facts["mean"], std=facts["std"], pixel_range=config.reading.pixel_range
        )
        save_encoder(config.out / FILE, parts.method.student, described)
        replace_text(config.out / "summary.json", json.dumps(summary, indent=2))
        if parts.bad_files.found:
            console.print(f"{parts.bad_files.describe()}; others took their place, see {config.out / BAD_FILES}")
    return summary
