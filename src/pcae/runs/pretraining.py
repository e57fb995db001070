"""TODO."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pcae.data.batches import check_data_config
from pcae.data.images import RandomCrops, open_images
from pcae.data.shards.lane_batches import lanes_of
from pcae.data.shards.stream import is_stream
from pcae.evaluation.recipe_choice import Advice, advise, say_recipe, typical_side
from pcae.methods.choice import Pretraining, spelled_out
from pcae.methods.pcae import PCAE
from pcae.model.pretrained import PretrainedFacts
from pcae.pages.run_page import report_on
from pcae.runs.dry_run import forecast, peak_of
from pcae.runs.health import Health, begin_health, check_health, health_every
from pcae.runs.initial_weights import Beginning, begin, decoder_of, find_beginning
from pcae.runs.online_probe import OnlineProbe, open_online
from pcae.runs.roll_back import with_roll_backs
from pcae.runs.run import Parts, announce_numbers, batches, carry_out, finished, start_or_go_on, write_summary
from pcae.settings.recipes import configure, recipe_names
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import console
from pcae.training.distributed import World, pick_device, world
from pcae.training.logging import Journal
from pcae.training.loop import Watcher
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, plan
from pcae.training.run_folder import config_of
from pcae.training.sharding import shard
from pcae.weights.decoders import DECODER_FILE, save_decoder
from pcae.weights.files import FILE, save_model

OF_ATTENTION = ("token-importance", "saliency")
"""Criteria that look at a block's attention."""


def pretrain(data: str | Path, out: str | Path, **knobs: Any) -> dict[str, Any]:
    """Pre-train on `data` into the run folder `out`, as `pcae pretrain` does; returns the summary of the run.

    knobs: the command's flags with underscores, such as recipe="auto", model="vit_small_patch16_224", epochs=100.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(PretrainConfig, "pretrain", choose_recipe, data=str(data), out=str(out), **knobs)
    with world(config.run.device) as here:
        return train_and_report(config, here)


def choose_recipe(config: PretrainConfig) -> str:
    """What `--recipe auto` stands for: the recipe of the run in the folder, else what suits; says which, and why."""
    advice = recorded_recipe(config.out)
    if advice is None:
        reading = config.reading
        images = open_images(config.data, "train", config.encoder.channels, reading.pixel_range, reading.stream)
        advice = advise(config.data, len(images), typical_side(images), pick_device(config.run.device))
    say_recipe(advice.recipe, advice.reason)
    return advice.recipe


def recorded_recipe(folder: Path) -> Advice | None:
    """The recipe of the run that stands in a folder."""
    recipe = config_of(folder).get("recipe")
    return Advice(recipe, f"that of the run in {folder}") if recipe in recipe_names(PretrainConfig) else None


def train_and_report(config: PretrainConfig, here: World) -> dict[str, Any]:
    """Pre-train, and write the page about it."""
    summary = train(config, here)
    if here.is_main and not config.dry_run:
        report_on(config.out)
    return summary


def train(config: PretrainConfig, here: World) -> dict[str, Any]:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run, or its forecast."""
    return with_roll_backs(lambda again: attempt(again, here), config)


def attempt(config: PretrainConfig, here: World) -> dict[str, Any]:
    """Pre-train to the end, or until the run has to go back."""
    parts, beginning = build_parts(config, here)
    config = cast(PretrainConfig, parts.config)
    crops = RandomCrops(parts.images, config.encoder.image_size, config.reading.crop_scale, config.run.seed)
    facts = described(parts, beginning)
    probe = here.main_first(lambda: open_probe(config, facts, parts.numbers, here))
    if config.dry_run:
        if here.is_main:
            announce(parts, beginning, here)
        return forecast(parts, batches(parts, crops, here), here, partial(peak_of, parts, here=here))
    summary = finished(parts)
    if summary is not None:
        return summary
    health: list[Health] = []
    done = carry_out(
        "pre-training",
        parts,
        batches(parts, crops, here),
        here,
        lambda: announce(parts, beginning, here),
        lambda journal: watchers(parts, probe, journal, here, health),
    )
    summary = {"weights": str(config.out / FILE), **done}
    summary |= {"warnings": list(health[0].warnings.values())} if health else {}
    summary |= {"knn": probe.last} if probe else {}
    save_weights(parts, facts, here)
    if here.is_main:
        write_summary(parts, summary)
    return summary


def open_probe(config: PretrainConfig, facts: PretrainedFacts, numbers: Plan, here: World) -> OnlineProbe | None:
    """The probe of labelled images during the run, where one is asked for."""
    if config.health.knn_data is None:
        return None
    every = max(1, round(config.health.knn_every * numbers.images / numbers.batch_size))
    return open_online(config.health.knn_data, facts, config.reading, every, here.device)


def watchers(
    parts: Parts, probe: OnlineProbe | None, journal: Journal, here: World, health: list[Health]
) -> list[Watcher]:
    """What watches the run beside its journal; what watches its health is put into `health` too."""
    config = cast(PretrainConfig, parts.config)
    watching: list[Watcher] = []
    every = health_every(config.health, parts.numbers)
    if every:
        health += begin_health(parts, config.encoder.image_size, journal, here)
        watching += [(every, one.watch) for one in health]
    if probe:
        probe.begin(whole_method_of(parts), parts.progress, journal, here)
        watching.append((probe.every, lambda progress: probe.watch(whole_method_of(parts), progress, journal, here)))
    return watching


def described(parts: Parts, beginning: Beginning) -> PretrainedFacts:
    """What the weights say of themselves."""
    return PretrainedFacts(
        encoder=cast(PretrainConfig, parts.config).encoder,
        mean=parts.facts["mean"],
        std=parts.facts["std"],
        pixel_range=parts.images.pixel_range,
        norm_eps=beginning.norm_eps,
    )


def save_weights(parts: Parts, facts: PretrainedFacts, here: World) -> None:
    """Write the encoder, and the decoder where the method has one. Every process calls it, the main one writes."""
    config, method = cast(PretrainConfig, parts.config), whole_method_of(parts)
    if not here.is_main:
        return
    decoder = decoder_of(method)
    save_model(config.out / FILE, method.student.vit, facts)
    if decoder is not None:
        norm_pix_loss = config.method.norm_pix_loss if method.predicts == "pixels" else None
        save_decoder(config.out / DECODER_FILE, decoder, config.decoder, method.predicts, norm_pix_loss)


def build_parts(config: PretrainConfig, here: World) -> tuple[Parts, Beginning]:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them; and the beginning."""
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    check_health(config.health)
    beginning = here.main_first(lambda: find_beginning(config.encoder, config.reading, config.init, config.teacher))
    config = replace(config, encoder=beginning.encoder, reading=beginning.reading)
    channels, pixel_range = config.encoder.channels, config.reading.pixel_range
    stream = config.reading.stream
    once = here.from_main if stream or is_stream(config.data) else here.main_first  # a stream's shards are counted once
    images = once(lambda: open_images(config.data, "train", channels, pixel_range, stream))
    numbers = plan(config.run, config.optimizer, len(images), here.size)
    lanes_of(config.reading, images, numbers.batch_size, here.size * config.run.accumulation)  # refused before any work
    config = replace(config, encoder=replace(config.encoder, channels=images.channels))
    torch.manual_seed(config.run.seed)
    method, beginning = begin(replace(beginning, encoder=config.encoder), config.method, config.decoder)
    said, decoder = spelled_out(config.method, config.decoder, method)
    hollow = split_if_asked(config, method, here)
    config, method = replace(config, method=said, decoder=decoder), method.to(here.device)
    optimizer = build_optimizer(method, config.optimizer)
    size = config.encoder.image_size
    parts = start_or_go_on(config, images, numbers, method, optimizer, size, here)
    reading = replace(config.reading, mean=tuple(parts.facts["mean"]), std=tuple(parts.facts["std"]))
    return replace(parts, config=replace(config, reading=reading), hollow=hollow), beginning


def split_if_asked(config: PretrainConfig, method: Pretraining, here: World) -> nn.Module | None:
    """Split the method's weights over the processes, where that is asked for; returns it without weights then.

    Raises ValueError for a criterion that looks into blocks from outside, when their weights are put away.
    """
    if not config.run.fully_shard:
        return None
    criterion = config.method.teacher.criterion
    if criterion in OF_ATTENTION:
        raise ValueError(f"criterion {criterion} needs blocks with all of their weights; leave fully_shard out with it")
    return shard(method, here.device)


def method_of(parts: Parts) -> Pretraining:
    """The method that is trained."""
    assert isinstance(parts.method, Pretraining)
    return parts.method


def whole_method_of(parts: Parts) -> Pretraining:
    """The method with all of its weights. Every process calls it."""
    return cast(Pretraining, parts.whole())


def announce(parts: Parts, beginning: Beginning, here: World) -> None:
    """Print, before the first step, what the run begins with and what it comes to."""
    method = method_of(parts)
    for line in beginning.lines:
        console.print(line)
    announce_numbers(parts, here)
    grid = method.student.grid
    millions = sum(parameter.numel() for parameter in method.student.parameters()) / 1e6
    views = f" in each of {method.views} views" if isinstance(method, PCAE) and method.views > 1 else ""
    pixels = " and pixels" if isinstance(method, PCAE) and method.pixel_weight else ""
    what = "in the teacher" if "teacher" in dict(method.named_children()) else "hidden"
    console.print(
        f"encoder of {millions:.1f} M parameters; tokens per image: {grid[0]} x {grid[1]} = {grid[0] * grid[1]}, "
        f"{method.n_visible} visible{views}; {' -> '.join(map(str, method.counts))} {what}; "
        f"predicted: {method.predicts}{pixels} of {method.counts[-1]}"
    )
