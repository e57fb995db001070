"""`pcae pretrain`: self-supervised pre-training on images without labels."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from pcae.commands.advice import Advice, advise, typical_side
from pcae.commands.parts import (
    Parts,
    RunSettings,
    announce_numbers,
    batches,
    carry_out,
    configure,
    finished,
    say_recipe,
    start_or_go_on,
    write_summary,
)
from pcae.commands.report import as_json, console
from pcae.data.batches import check_data_config
from pcae.data.images import RandomCrops, open_images
from pcae.methods.choice import MethodConfig, Pretraining, build_method
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig, build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings import recipe_names
from pcae.training.distributed import World, pick_device, world
from pcae.training.folder import config_of
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import plan
from pcae.weights.files import FILE, save_model


@dataclass(frozen=True, kw_only=True)
class Config(RunSettings):
    """Pre-train a Vision Transformer on images without labels, by PCAE or by what it is compared with.

    DATA is a folder (flat or nested), a .txt or .csv list, WebDataset shards, hf:NAME, `sample` or `fashion-mnist`.
    Flags come before --config FILE, that before --recipe NAME, that before the defaults, which are the paper's ViT-B.
    """

    encoder: EncoderConfig = EncoderConfig()
    method: MethodConfig = MethodConfig()
    decoder: DecoderConfig = DecoderConfig()


def run(config: Config) -> None:
    """Pre-train, and say where everything lies."""
    with world(config.run.device) as here:
        summary = train(config, here)
        if here.is_main and config.json:
            as_json(summary)
        elif here.is_main:
            console.print(f"done: weights in {summary['weights']}, everything else beside it")


def pretrain(data: str | Path, out: str | Path, **knobs: Any) -> dict[str, Any]:
    """Pre-train on `data` into the run folder `out`, as `pcae pretrain` does; returns the summary of the run.

    knobs: the command's flags with underscores, such as recipe="auto", model="vit_small_patch16_224", epochs=100.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(Config, "pretrain", choose_recipe, data=str(data), out=str(out), **knobs)
    with world(config.run.device) as here:
        return train(config, here)


def choose_recipe(config: Config) -> str:
    """What `--recipe auto` stands for: the recipe of the run in the folder, else what suits; says which, and why."""
    advice = recorded_recipe(config.out)
    if advice is None:
        images = open_images(config.data, "train", config.encoder.channels, config.reading.pixel_range)
        advice = advise(config.data, len(images), typical_side(images), pick_device(config.run.device))
    say_recipe(advice.recipe, advice.reason)
    return advice.recipe


def recorded_recipe(folder: Path) -> Advice | None:
    """The recipe of the run that stands in a folder."""
    recipe = config_of(folder).get("recipe")
    return Advice(recipe, f"that of the run in {folder}") if recipe in recipe_names(Config) else None


def train(config: Config, here: World) -> dict[str, Any]:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run."""
    parts = build_parts(config, here)
    summary = finished(parts)
    if summary is not None:
        return summary
    config = cast(Config, parts.config)
    crops = RandomCrops(parts.images, config.encoder.image_size, config.reading.crop_scale, config.run.seed)
    done = carry_out("pre-training", parts, batches(parts, crops, here), here, lambda: announce(parts, here))
    summary = {"weights": str(config.out / FILE), **done}
    if here.is_main:
        described = PretrainedFacts(
            encoder=config.encoder,
            mean=parts.facts["mean"],
            std=parts.facts["std"],
            pixel_range=config.reading.pixel_range,
        )
        save_model(config.out / FILE, method_of(parts).student.vit, described)
        write_summary(parts, summary)
    return summary


def build_parts(config: Config, here: World) -> Parts:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them."""
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    channels, pixel_range = config.encoder.channels, config.reading.pixel_range
    images = here.main_first(lambda: open_images(config.data, "train", channels, pixel_range))
    numbers = plan(config.run, config.optimizer, len(images), here.size)
    config = replace(config, encoder=replace(config.encoder, channels=images.channels))
    torch.manual_seed(config.run.seed)
    method = build_method(build_encoder(config.encoder), config.method, config.decoder).to(here.device)
    optimizer = build_optimizer(method, config.optimizer)
    size = config.encoder.image_size
    parts = start_or_go_on(config, images, numbers, method, optimizer, size, here)
    reading = replace(config.reading, mean=tuple(parts.facts["mean"]), std=tuple(parts.facts["std"]))
    return replace(parts, config=replace(config, reading=reading))


def method_of(parts: Parts) -> Pretraining:
    """The method that is trained."""
    assert isinstance(parts.method, Pretraining)
    return parts.method


def announce(parts: Parts, here: World) -> None:
    """Print, before the first step, what the run comes to."""
    method = method_of(parts)
    announce_numbers(parts, here)
    grid = method.student.grid
    millions = sum(parameter.numel() for parameter in method.student.parameters()) / 1e6
    what = "in the teacher" if "teacher" in dict(method.named_children()) else "hidden, whose pixels are predicted"
    console.print(
        f"encoder of {millions:.1f} M parameters; tokens per image: {grid[0]} x {grid[1]} = {grid[0] * grid[1]}, "
        f"{method.n_visible} visible; {' -> '.join(map(str, method.counts))} {what}"
    )
