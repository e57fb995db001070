"""TODO."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pcae.data.batches import check_data_config
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.shards.lane_batches import lanes_of
from pcae.data.shards.stream import is_stream
from pcae.evaluation.recipe_choice import RecipeChoice, recipe_for, say_recipe, typical_side
from pcae.methods.choice import Pretraining, spelled_out
from pcae.methods.pcae import PCAE
from pcae.model.pretrained import PretrainedFacts
from pcae.pages.run_page import report_on
from pcae.runs.dry_run import forecast, peak_of
from pcae.runs.health import Health, health_every, open_health
from pcae.runs.initial_weights import InitialWeights, decoder_of, initial_method, load_initial
from pcae.runs.online_probe import OnlineProbe, open_online
from pcae.runs.roll_back import with_roll_backs
from pcae.runs.run import TrainingRun, batches, describe_plan, finished, start_or_resume, train_to_end, write_summary
from pcae.settings.recipes import configure, recipe_names
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import console
from pcae.training.distributed import World, open_world, pick_device
from pcae.training.logging import Journal
from pcae.training.loop import Watcher
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, make_plan
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
    with open_world(config.run.device) as world:
        return train_and_report(config, world)


def choose_recipe(config: PretrainConfig) -> str:
    """What `--recipe auto` stands for: the recipe of the run in the folder, else what suits; says which, and why."""
    choice = recorded_recipe(config.out)
    if choice is None:
        reading = config.reading
        images = open_images(config.data, "train", config.encoder.channels, reading.pixel_range, reading.stream)
        choice = recipe_for(config.data, len(images), typical_side(images), pick_device(config.run.device))
    say_recipe(choice.recipe, choice.reason)
    return choice.recipe


def recorded_recipe(folder: Path) -> RecipeChoice | None:
    """The recipe of the run that stands in a folder."""
    recipe = config_of(folder).get("recipe")
    return RecipeChoice(recipe, f"that of the run in {folder}") if recipe in recipe_names(PretrainConfig) else None


def train_and_report(config: PretrainConfig, world: World) -> dict[str, Any]:
    """Pre-train, and write the page about it."""
    summary = train(config, world)
    if world.is_main and not config.dry_run:
        report_on(config.out)
    return summary


def train(config: PretrainConfig, world: World) -> dict[str, Any]:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run, or its forecast."""
    return with_roll_backs(lambda again: attempt(again, world), config)


def attempt(config: PretrainConfig, world: World) -> dict[str, Any]:
    """Pre-train to the end, or until the run has to go back."""
    run, initial = build_run(config, world)
    config = cast(PretrainConfig, run.config)
    crops = RandomCrops(run.images, config.encoder.image_size, config.reading.crop_scale, config.run.seed)
    facts = described(run, initial)
    probe = world.main_first(lambda: open_probe(config, facts, run.plan, world))
    if config.dry_run:
        if world.is_main:
            announce(run, initial, world)
        return forecast(run, batches(run, crops, world), world, partial(peak_of, run, world=world))
    summary = finished(run)
    if summary is not None:
        return summary
    health: list[Health] = []
    done = train_to_end(
        "pre-training",
        run,
        batches(run, crops, world),
        world,
        lambda: announce(run, initial, world),
        lambda journal: watchers(run, probe, journal, world, health),
    )
    summary = {"weights": str(config.out / FILE), **done}
    summary |= {"warnings": list(health[0].warnings.values())} if health else {}
    summary |= {"knn": probe.last} if probe else {}
    save_weights(run, facts, world)
    if world.is_main:
        write_summary(run, summary)
    return summary


def open_probe(config: PretrainConfig, facts: PretrainedFacts, plan: Plan, world: World) -> OnlineProbe | None:
    """The probe of labelled images during the run, where one is asked for."""
    if config.health.knn_data is None:
        return None
    every = max(1, round(config.health.knn_every * plan.images / plan.batch_size))
    return open_online(config.health.knn_data, facts, config.reading, every, world.device)


def watchers(
    run: TrainingRun, probe: OnlineProbe | None, journal: Journal, world: World, health: list[Health]
) -> list[Watcher]:
    """What watches the run beside its journal; what watches its health is put into `health` too."""
    config = cast(PretrainConfig, run.config)
    watching: list[Watcher] = []
    every = health_every(config.health, run.plan)
    if every:
        health += open_health(run, config.encoder.image_size, journal, world)
        watching += [(every, one.watch) for one in health]
    if probe:
        probe.begin(whole_method_of(run), run.progress, journal, world)
        watching.append((probe.every, lambda progress: probe.watch(whole_method_of(run), progress, journal, world)))
    return watching


def described(run: TrainingRun, initial: InitialWeights) -> PretrainedFacts:
    """What the weights say of themselves."""
    return PretrainedFacts(
        encoder=cast(PretrainConfig, run.config).encoder,
        mean=run.facts["mean"],
        std=run.facts["std"],
        pixel_range=run.images.pixel_range,
        norm_eps=initial.norm_eps,
    )


def save_weights(run: TrainingRun, facts: PretrainedFacts, world: World) -> None:
    """Write the encoder, and the decoder where the method has one. Every process calls it, the main one writes."""
    config, method = cast(PretrainConfig, run.config), whole_method_of(run)
    if not world.is_main:
        return
    decoder = decoder_of(method)
    save_model(config.out / FILE, method.student.vit, facts)
    if decoder is not None:
        norm_pix_loss = config.method.norm_pix_loss if method.predicts == "pixels" else None
        save_decoder(config.out / DECODER_FILE, decoder, config.decoder, method.predicts, norm_pix_loss)


def build_run(config: PretrainConfig, world: World) -> tuple[TrainingRun, InitialWeights]:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them; and the beginning."""
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    initial = world.main_first(lambda: load_initial(config.encoder, config.reading, config.init, config.teacher))
    config = replace(config, encoder=initial.encoder, reading=initial.reading)
    channels, pixel_range = config.encoder.channels, config.reading.pixel_range
    stream = config.reading.stream
    once = (
        world.from_main if stream or is_stream(config.data) else world.main_first
    )  # a stream's shards are counted once
    images = once(lambda: open_images(config.data, "train", channels, pixel_range, stream))
    plan = make_plan(config.run, config.optimizer, len(images), world.size)
    lanes_of(config.reading, images, plan.batch_size, world.size * config.run.accumulation)  # refused before any work
    config = replace(config, encoder=replace(config.encoder, channels=images.channels))
    torch.manual_seed(config.run.seed)
    method, initial = initial_method(replace(initial, encoder=config.encoder), config.method, config.decoder)
    said, decoder = spelled_out(config.method, config.decoder, method)
    meta_copy = split_if_asked(config, method, world)
    config, method = replace(config, method=said, decoder=decoder), method.to(world.device)
    optimizer = build_optimizer(method, config.optimizer)
    size = config.encoder.image_size
    run = start_or_resume(config, images, plan, method, optimizer, size, world)
    reading = replace(config.reading, mean=tuple(run.facts["mean"]), std=tuple(run.facts["std"]))
    return replace(run, config=replace(config, reading=reading), meta_copy=meta_copy), initial


def split_if_asked(config: PretrainConfig, method: Pretraining, world: World) -> nn.Module | None:
    """Split the method's weights over the processes, where that is asked for; returns it without weights then.

    Raises ValueError for a criterion that looks into blocks from outside, when their weights are put away.
    """
    if not config.run.fully_shard:
        return None
    criterion = config.method.teacher.criterion
    if criterion in OF_ATTENTION:
        raise ValueError(f"criterion {criterion} needs blocks with all of their weights; leave fully_shard out with it")
    return shard(method, world.device)


def method_of(run: TrainingRun) -> Pretraining:
    """The method that is trained."""
    assert isinstance(run.method, Pretraining)
    return run.method


def whole_method_of(run: TrainingRun) -> Pretraining:
    """The method with all of its weights. Every process calls it."""
    return cast(Pretraining, run.whole())


def announce(run: TrainingRun, initial: InitialWeights, world: World) -> None:
    """Print, before the first step, what the run begins with and what it comes to."""
    method = method_of(run)
    for line in initial.lines:
        console.print(line)
    describe_plan(run, world)
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
